"""Measured symmetry of every mixer with every order, on real molecules."""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from benchmarks.harness.documents import write_block
from benchmarks.harness.environment import environment
from e3hyena.data import ORDERS, QM9Extract, symmetry_classes
from e3hyena.mixers import MIXERS
from e3hyena.models.hyena_net import HyenaNet
from e3hyena.testing import Element, perturb_parameters, random_element

BLOCK = "symmetry"
SUMMARY = "symmetry_short"
IRREPS_OUT = "4x0e + 4x1o"  # invariants, then vectors
NUM_INVARIANTS = 4
LISTED = "none"  # the atoms as they are listed
CANONICAL = ("spectral", "distance", "breadth_first", "rdkit")
CHANGED = 1e-5
DTYPES = {"float32": torch.float32, "float64": torch.float64}
BATCH_SIZE = 100


@dataclass
class Config:
    """What to measure.

    Parameters
    ----------
    mixers : list of str
        Mixers of the network.
    orders : list of str
        Names of order transforms; "none" leaves the atoms as they are listed.
    molecules : int
        Molecules of the extract's test part from which the largest errors are taken.
    canonical_molecules : int
        Molecules that are re-listed to count how many outputs of `query_key` change.
    seed : int
        Seeds weights, rotations, translations and listings.
    output : str or None
        JSON file to write; null for none.
    documents : list of str
        Markdown files whose block ``<!-- symmetry -->`` is rewritten with the tables.
    summaries : list of str
        Markdown files whose block ``<!-- symmetry_short -->`` is rewritten with the short table.
    """

    mixers: list[str] = dataclasses.field(default_factory=lambda: list(MIXERS))
    orders: list[str] = dataclasses.field(default_factory=lambda: [LISTED, *ORDERS])
    molecules: int = 100
    canonical_molecules: int = 1000
    seed: int = 0
    output: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)
    summaries: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Measure, print the tables, write the JSON, return what it holds.

    The network is a small :class:`HyenaNet` with perturbed weights and the outputs
    ``4x0e + 4x1o``. An error is the largest over the molecules of ``max |difference| / max
    |output|``, for invariants and vectors apart, the larger of the two.
    """
    dataset = QM9Extract("test")
    count = max(config.molecules, config.canonical_molecules)
    molecules = [_labelled(dataset[i]) for i in range(count)]
    report: dict[str, Any] = {
        "config": dataclasses.asdict(config),
        "environment": environment(),
        "errors": _errors(molecules[: config.molecules], config),
        "relisted": _relisted(molecules[: config.canonical_molecules], config),
    }
    print(render(report))
    if config.output is not None:
        path = Path(config.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(f"written: {path}")
    for document in config.documents:
        write_block(document, BLOCK, render(report))
        print(f"written: {document}")
    for document in config.summaries:
        write_block(document, SUMMARY, render_summary(report))
        print(f"written: {document}")
    return report


def build(mixer: str, seed: int) -> HyenaNet:
    """The network whose symmetry is measured, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = HyenaNet(
            IRREPS_OUT,
            irreps_hidden="8x0e + 8x1o",
            num_layers=2,
            mixer=mixer,
            cutoff=3.0,
            ordered=True,
        ).double()
    return perturb_parameters(net, seed=seed)


def _labelled(molecule: Data) -> Data:
    """Elements, positions, and for the residue order every four listed atoms a residue."""
    serial = torch.arange(len(molecule.z))
    return Data(
        z=molecule.z,
        pos=molecule.pos.double(),
        chain=torch.zeros_like(serial),
        residue=serial // 4,
        serial=serial,
    )


def _relist(molecule: Data, seed: int) -> Data:
    listing = torch.randperm(len(molecule.z), generator=torch.Generator().manual_seed(seed))
    return Data(**{key: molecule[key][listing] for key in molecule.keys()})


def _move(molecule: Data, element: Element) -> Data:
    moved = copy.copy(molecule)
    moved.pos = element(molecule.pos, "cartesian_points")
    return moved


def _ordered(molecules: list[Data], order: str, dtype: torch.dtype) -> list[Data]:
    """As a user's dataset would give them: positions in the dtype, then the transform."""
    cast = [copy.copy(molecule) for molecule in molecules]
    for molecule in cast:
        molecule.pos = molecule.pos.to(dtype)
    return cast if order == LISTED else [ORDERS[order]()(molecule) for molecule in cast]


@torch.no_grad()
def _outputs(net: HyenaNet, molecules: list[Data]) -> Tensor:
    parts = []
    for start in range(0, len(molecules), BATCH_SIZE):
        batch = Batch.from_data_list(molecules[start : start + BATCH_SIZE])
        parts.append(net(batch.z, batch.pos, batch.batch))
    return torch.cat(parts).double()


def _difference(actual: Tensor, expected: Tensor) -> dict[str, Tensor]:
    """Relative error of every molecule, ``(num_graphs,)``, for invariants and vectors."""
    parts = {"invariants": slice(0, NUM_INVARIANTS), "vectors": slice(NUM_INVARIANTS, None)}
    return {
        name: (actual[:, part] - expected[:, part]).abs().amax(1) / expected[:, part].abs().amax(1)
        for name, part in parts.items()
    }


def _errors(molecules: list[Data], config: Config) -> dict[str, Any]:
    """``[mixer][order][operation][dtype]``."""
    rotation = random_element(config.seed)
    reflection = random_element(config.seed + 1, inversion=True)
    shift = random_element(config.seed, translation_scale=5.0).shift
    still = torch.eye(3, dtype=torch.float64)
    elements: dict[str, Element | None] = {
        "rotation": rotation,
        "reflection": reflection,
        "translation": Element(still, False, shift),
        "permutation": None,
    }
    inputs = {
        name: [
            _relist(molecule, config.seed + i) if element is None else _move(molecule, element)
            for i, molecule in enumerate(molecules)
        ]
        for name, element in elements.items()
    }
    nets = {mixer: build(mixer, config.seed) for mixer in config.mixers}
    errors: dict[str, Any] = {
        mixer: {order: {name: {} for name in elements} for order in config.orders}
        for mixer in config.mixers
    }
    for order in config.orders:
        for label, dtype in DTYPES.items():
            before = _ordered(molecules, order, dtype)
            after = {name: _ordered(inputs[name], order, dtype) for name in elements}
            for mixer, net in nets.items():
                cast = copy.deepcopy(net).to(dtype)
                expected = _outputs(cast, before)
                for name, element in elements.items():
                    wanted = expected if element is None else element(expected, IRREPS_OUT)
                    found = _difference(_outputs(cast, after[name]), wanted)
                    worst = max(float(error.max()) for error in found.values())
                    errors[mixer][order][name][label] = worst
    for operations in (o for orders in errors.values() for o in orders.values()):
        for error in operations.values():
            exact = error["float64"] == 0
            error["ratio"] = None if exact else error["float32"] / error["float64"]
    return errors


def _relisted(molecules: list[Data], config: Config) -> dict[str, Any]:
    """How many outputs of `query_key` change when atoms are re-listed, or the frame is another.

    float64 networks on the same positions, so that nothing but the order can change the output.
    The other frame gives the order from positions rounded to float32 in that frame.
    """
    net = build("query_key", config.seed)
    tied = torch.tensor([int(symmetry_classes(m).max()) + 1 < len(m.z) for m in molecules])
    relisted = [_relist(molecule, config.seed + i) for i, molecule in enumerate(molecules)]
    report: dict[str, Any] = {"molecules": len(molecules), "with_symmetry_ties": int(tied.sum())}
    for order in config.orders:
        if order not in (LISTED, *CANONICAL):
            continue
        expected = _outputs(net, _ordered(molecules, order, torch.float64))
        again = _difference(_outputs(net, _ordered(relisted, order, torch.float64)), expected)
        report[order] = {"listing": _count(again, tied)}
        if order == LISTED:
            continue
        framed = []
        for i, molecule in enumerate(molecules):
            moved = _move(
                molecule,
                random_element(config.seed + i, inversion=i % 2 == 1, translation_scale=5.0),
            )
            moved.pos = moved.pos.float()
            index = ORDERS[order]()(moved).order_index
            framed.append(Data(z=molecule.z[index], pos=molecule.pos[index]))
        report[order]["frame"] = _count(_difference(_outputs(net, framed), expected), tied)
    return report


def _count(errors: dict[str, Tensor], tied: Tensor) -> dict[str, Any]:
    """Outputs that changed, by cause."""
    result: dict[str, Any] = {}
    for name, error in errors.items():
        changed = error > CHANGED
        result[name] = {
            "unchanged_share": 1 - float(changed.double().mean()),
            "changed": int(changed.sum()),
            "changed_with_symmetry_ties": int((changed & tied).sum()),
            "largest": float(error.max()),
        }
    return result


def render(report: dict[str, Any]) -> str:
    """Both tables as Markdown."""
    config = report["config"]
    lines = [
        f"Largest relative error over {config['molecules']} molecules, float32 / float64, and the "
        "smallest ratio of the two (above 1e4: round-off; about 1: a broken symmetry).",
        "",
        "| mixer | order | rotation | reflection | translation | permutation "
        "| ratio, E(3) | ratio, permutation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for mixer, orders in report["errors"].items():
        for order, operations in orders.items():
            cells = [f"{_e(e['float32'])} / {_e(e['float64'])}" for e in operations.values()]
            *euclidean, relisting = (e["ratio"] for e in operations.values())
            smallest = min((ratio for ratio in euclidean if ratio is not None), default=None)
            cells += [
                "exact" if smallest is None else _e(smallest),
                "exact" if relisting is None else _e(relisting),
            ]
            lines.append(f"| `{mixer}` | {order} | {' | '.join(cells)} |")
    relisted = report["relisted"]
    lines += [
        "",
        f"`query_key` on {relisted['molecules']:,} molecules ({relisted['with_symmetry_ties']:,} "
        "have atoms that a symmetry exchanges): how many outputs change by more than 1e-5 "
        "(of those, with symmetry ties).",
        "",
        "| order | re-listed: invariants | re-listed: vectors | other frame: invariants "
        "| other frame: vectors |",
        "|---|---|---|---|---|",
    ]
    for order in (name for name in (LISTED, *CANONICAL) if name in relisted):
        cells = []
        for kind in ("listing", "frame"):
            for name in ("invariants", "vectors"):
                found = relisted[order].get(kind, {}).get(name)
                cells.append(
                    ""
                    if found is None
                    else f"{found['changed']} ({found['changed_with_symmetry_ties']})"
                )
        lines.append(f"| {order} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _e(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}"


def render_summary(report: dict[str, Any]) -> str:
    """One row per mixer: errors as listed, and with the canonical orders."""
    lines = [
        "| mixer | error under E(3) | permutation, as listed | permutation, canonical order |",
        "|---|---|---|---|",
    ]
    for mixer, orders in report["errors"].items():
        euclidean = [
            error["float32"]
            for operations in orders.values()
            for name, error in operations.items()
            if name != "permutation"
        ]
        canonical = [
            operations["permutation"]["float32"]
            for order, operations in orders.items()
            if order in CANONICAL
        ]
        listed = orders[LISTED]["permutation"]["float32"]
        lines.append(f"| `{mixer}` | {_e(max(euclidean))} | {_e(listed)} | {_e(max(canonical))} |")
    return "\n".join(lines)
