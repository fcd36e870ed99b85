"""Symmetry of every mixer with every order of the atoms, measured on real molecules."""

import copy
from dataclasses import dataclass, field
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from benchmarks.harness import Config, plain_study, table
from e3hyena.data import ORDERS, QM9Extract, symmetry_classes
from e3hyena.mixers import MIXERS
from e3hyena.models.hyena_net import HyenaNet
from e3hyena.testing import Element, perturb_parameters, random_element

IRREPS_OUT = "4x0e + 4x1o"
PARTS = {"invariants": slice(0, 4), "vectors": slice(4, None)}  # of the outputs
LISTED = "none"  # the atoms as they are listed
CANONICAL = ("spectral", "distance", "breadth_first", "rdkit")
CHANGED = 1e-5
DTYPES = ("float32", "float64")


@dataclass(kw_only=True)
class SymmetryConfig(Config):
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
    """

    mixers: list[str] = field(default_factory=lambda: list(MIXERS))
    orders: list[str] = field(default_factory=lambda: [LISTED, *ORDERS])
    molecules: int = 100
    canonical_molecules: int = 1000
    seed: int = 0


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Errors of all mixers; changes of `query_key` when atoms are re-listed."""
    dataset = QM9Extract("test")
    few, many = values["molecules"], values["canonical_molecules"]
    molecules = [_labelled(dataset[i]) for i in range(max(few, many))]
    return {
        "errors": _errors(molecules[:few], values),
        "relisted": _relisted(molecules[:many], values["orders"], values["seed"]),
    }


def build(mixer: str, seed: int, irreps_out: str, cutoff: float | None) -> HyenaNet:
    """A small network with perturbed weights, float64."""
    torch.manual_seed(seed)
    small: dict[str, Any] = {"irreps_hidden": "8x0e + 8x1o", "num_layers": 2, "ordered": True}
    net = HyenaNet(irreps_out, mixer=mixer, cutoff=cutoff, **small)
    return perturb_parameters(net.double(), seed=seed)


def _labelled(molecule: Data) -> Data:
    """Elements, positions, and for the residue order every four listed atoms a residue."""
    serial = torch.arange(len(molecule.z))
    labels = {"chain": torch.zeros_like(serial), "residue": serial // 4, "serial": serial}
    return Data(z=molecule.z, pos=molecule.pos.double(), **labels)


def _relist(molecule: Data, seed: int) -> Data:
    listing = torch.randperm(len(molecule.z), generator=torch.Generator().manual_seed(seed))
    return Data(**{key: molecule[key][listing] for key in molecule.keys()})


def _at(molecule: Data, pos: Tensor) -> Data:
    moved = copy.copy(molecule)
    moved.pos = pos
    return moved


def _ordered(molecules: list[Data], order: str, dtype: torch.dtype) -> list[Data]:
    """As a user's dataset would give them: positions in the dtype, then the transform."""
    cast = [_at(molecule, molecule.pos.to(dtype)) for molecule in molecules]
    return cast if order == LISTED else [ORDERS[order]()(molecule) for molecule in cast]


@torch.no_grad()
def _outputs(net: HyenaNet, molecules: list[Data]) -> Tensor:
    batch = Batch.from_data_list(molecules)
    return net(batch.z, batch.pos, batch.batch).double()


def _difference(actual: Tensor, expected: Tensor) -> dict[str, Tensor]:
    """Relative error of every molecule, ``(num_graphs,)``, for invariants and vectors."""
    return {
        name: (actual[:, part] - expected[:, part]).abs().amax(1) / expected[:, part].abs().amax(1)
        for name, part in PARTS.items()
    }


def _errors(molecules: list[Data], values: dict[str, Any]) -> dict[str, Any]:
    """``[mixer][order][operation][dtype]``: the largest over molecules, invariants and vectors."""
    seed, still = values["seed"], torch.eye(3, dtype=torch.float64)
    elements: dict[str, Element | None] = {
        "rotation": random_element(seed),
        "reflection": random_element(seed + 1, inversion=True),
        "translation": Element(still, False, random_element(seed, translation_scale=5.0).shift),
        "permutation": None,
    }
    inputs = {
        name: [
            _relist(m, seed + i) if g is None else _at(m, g(m.pos, "cartesian_points"))
            for i, m in enumerate(molecules)
        ]
        for name, g in elements.items()
    }
    nets = {mixer: build(mixer, seed, IRREPS_OUT, 3.0) for mixer in values["mixers"]}
    errors: dict[str, Any] = {
        mixer: {order: {name: {} for name in elements} for order in values["orders"]}
        for mixer in nets
    }
    for order, label in product(values["orders"], DTYPES):
        dtype = getattr(torch, label)
        before = _ordered(molecules, order, dtype)
        after = {name: _ordered(moved, order, dtype) for name, moved in inputs.items()}
        for mixer, net in nets.items():
            cast = copy.deepcopy(net).to(dtype)
            expected = _outputs(cast, before)
            for name, g in elements.items():
                wanted = expected if g is None else g(expected, IRREPS_OUT)
                found = _difference(_outputs(cast, after[name]), wanted).values()
                errors[mixer][order][name][label] = max(float(e.max()) for e in found)
    return errors


def _relisted(molecules: list[Data], orders: list[str], seed: int) -> dict[str, Any]:
    """How many outputs of `query_key` change when atoms are re-listed, or the frame is another.

    float64 networks on the same positions, so that nothing but the order can change the output.
    The other frame gives the order from positions rounded to float32 in that frame.
    """
    net = build("query_key", seed, IRREPS_OUT, 3.0)
    tied = torch.tensor([int(symmetry_classes(m).max()) + 1 < len(m.z) for m in molecules])

    def count(found: list[Data], expected: Tensor) -> dict[str, Any]:
        errors = _difference(_outputs(net, found), expected)
        changed = {name: error > CHANGED for name, error in errors.items()}
        return {
            name: {"changed": int(c.sum()), "changed_with_symmetry_ties": int((c & tied).sum())}
            for name, c in changed.items()
        }

    def framed(molecule: Data, order: str, i: int) -> Data:
        frame = random_element(seed + i, inversion=i % 2 == 1, translation_scale=5.0)
        seen = _at(molecule, frame(molecule.pos, "cartesian_points").float())
        index = ORDERS[order]()(seen).order_index
        return Data(z=molecule.z[index], pos=molecule.pos[index])

    again = [_relist(molecule, seed + i) for i, molecule in enumerate(molecules)]
    report: dict[str, Any] = {"molecules": len(molecules), "with_symmetry_ties": int(tied.sum())}
    for order in (name for name in orders if name in (LISTED, *CANONICAL)):
        expected = _outputs(net, _ordered(molecules, order, torch.float64))
        report[order] = {"listing": count(_ordered(again, order, torch.float64), expected)}
        if order != LISTED:
            seen = [framed(molecule, order, i) for i, molecule in enumerate(molecules)]
            report[order]["frame"] = count(seen, expected)
    return report


def render(report: dict[str, Any]) -> str:
    rows = []
    for mixer, orders in report["errors"].items():
        for order, operations in orders.items():
            errors = [[e[dtype] for dtype in DTYPES] for e in operations.values()]
            *euclidean, relisting = (a / b if b else inf for a, b in errors)
            ratios = ("exact" if r == inf else _e(r) for r in (min(euclidean), relisting))
            rows.append([f"`{mixer}`", order, *(" / ".join(map(_e, e)) for e in errors), *ratios])
    changes = []
    relisted = report["relisted"]
    for order in (name for name in (LISTED, *CANONICAL) if name in relisted):
        found = [relisted[order].get(k, {}).get(n) for k in ("listing", "frame") for n in PARTS]
        counts = (f"{f['changed']} ({f['changed_with_symmetry_ties']})" if f else "" for f in found)
        changes.append([order, *counts])
    operations = ["rotation", "reflection", "translation", "permutation"]
    kinds = [f"{kind}: {name}" for kind in ("re-listed", "other frame") for name in PARTS]
    return (
        f"Largest relative error over {report['config']['molecules']} molecules, float32 / "
        "float64, and the smallest ratio of the two (above 1e4: round-off; about 1: a broken "
        "symmetry).\n\n"
        + table(["mixer", "order", *operations, "ratio, E(3)", "ratio, permutation"], rows)
        + f"\n\n`query_key` on {relisted['molecules']:,} molecules "
        f"({relisted['with_symmetry_ties']:,} have atoms that a symmetry exchanges): how many "
        "outputs change by more than 1e-5 (of those, with symmetry ties).\n\n"
        + table(["order", *kinds], changes)
    )


def render_short(report: dict[str, Any]) -> str:
    """One row per mixer: errors as listed, and with the canonical orders."""
    head = ["mixer", "error under E(3)", "permutation, as listed", "permutation, canonical order"]
    rows = []
    for mixer, orders in report["errors"].items():
        error = {(o, g): e["float32"] for o, found in orders.items() for g, e in found.items()}
        euclidean = max(e for (_, g), e in error.items() if g != "permutation")
        canonical = max(error[o, "permutation"] for o in CANONICAL if o in orders)
        listed = error[LISTED, "permutation"]
        rows.append([f"`{mixer}`", *map(_e, (euclidean, listed, canonical))])
    return table(head, rows)


def _e(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}"


BLOCKS = {"symmetry": render, "symmetry_short": render_short}
STUDY = plain_study("symmetry", SymmetryConfig, measure, BLOCKS)
