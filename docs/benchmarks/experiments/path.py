"""Energy and force while an atom is pulled through a molecule."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from benchmarks.harness.documents import write_block
from benchmarks.harness.environment import environment
from e3hyena._extras import require
from e3hyena.data import ORDERS, QM9Extract
from e3hyena.models.hyena_net import HyenaNet
from e3hyena.testing import perturb_parameters
from e3hyena.training.files import atomic_path

BLOCK = "path"
CURVES = {"coordinate": None, "query_key, spectral": "spectral", "query_key, distance": "distance"}
DIFFERENCE = 3e-4  # step of the central finite differences of fourth order, Angstrom
NARROW = 1e-9  # width to which the largest step is narrowed, Angstrom


@dataclass
class Config:
    """What to compute.

    Parameters
    ----------
    molecule : int
        Number of the molecule in the extract's test part.
    element : int
        Atomic number of the atom that is pulled.
    offset : float
        Distance of its straight path from the centroid, along the molecule's shortest axis
        (Angstrom); the path runs along the longest.
    reach : float
        The path runs from minus to plus this much (Angstrom).
    points : int
        Points on the path.
    cutoff : float or None
        Radius of the local part of the networks (Angstrom); null for none, so that nothing but the
        mixer acts between atoms.
    seed : int
        Seeds the weights.
    output : str or None
        JSON file to write; null for none.
    plot : str or None
        PNG file to write; null for none.
    documents : list of str
        Markdown files whose block ``<!-- path -->`` is rewritten with the table.
    """

    molecule: int = 0
    element: int = 8
    offset: float = 1.5
    reach: float = 6.0
    points: int = 601
    cutoff: float | None = None
    seed: int = 0
    output: str | None = None
    plot: str | None = None
    documents: list[str] = dataclasses.field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Compute the curves, print a table, write JSON and plot, return what the JSON holds.

    The networks are small, with perturbed weights, float64; one per curve. Energies are in units of
    their standard deviation along the path. ``step_ratio`` is the largest change between
    neighbouring points over the larger one of the changes before and after it: about one for a
    smooth curve. ``jump`` is what remains of the largest such change over 1e-9 Angstrom, found by
    bisection.
    """
    molecule = QM9Extract("test")[config.molecule]
    t = torch.linspace(-config.reach, config.reach, config.points, dtype=torch.float64)
    report: dict[str, Any] = {
        "config": dataclasses.asdict(config),
        "environment": environment(),
        "smiles": molecule.smiles,
        "position": _rounded(t),
        "curves": {},
    }
    place = pulled(molecule, config)
    for name, order in CURVES.items():
        net = build(name.partition(",")[0], config)
        report["curves"][name] = _curve(partial(_energies, net, place, order), t)
    print(render(report))
    if config.output is not None:
        path = Path(config.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report) + "\n")
        print(f"written: {path}")
    if config.plot is not None:
        plot(report, Path(config.plot))
        print(f"written: {config.plot}")
    for document in config.documents:
        write_block(document, BLOCK, render(report))
        print(f"written: {document}")
    return report


def build(mixer: str, config: Config) -> HyenaNet:
    """An energy with the given mixer, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = HyenaNet(
            "0e",
            irreps_hidden="8x0e + 8x1o",
            num_layers=2,
            mixer=mixer,
            cutoff=config.cutoff,
            ordered=True,
        ).double()
    return perturb_parameters(net, seed=config.seed).requires_grad_(False)


def pulled(molecule: Data, config: Config) -> Callable[[Tensor], Data]:
    """The molecule and one more atom, as a differentiable function of the latter's place."""
    pos = molecule.pos.double()
    centre = pos.mean(dim=0)
    axes = torch.linalg.eigh((pos - centre).T @ (pos - centre)).eigenvectors
    z = torch.cat([molecule.z, torch.tensor([config.element])])

    def place(s: Tensor) -> Data:
        atom = centre + config.offset * axes[:, 0] + s * axes[:, 2]
        return Data(z=z, pos=torch.cat([pos, atom[None]]))

    return place


def _energies(
    net: HyenaNet, place: Callable[[Tensor], Data], order: str | None, s: Tensor
) -> Tensor:
    """Scalar outputs at the places ``(P,)``, atoms put into the order anew at each, ``(P,)``."""
    molecules = [place(x) for x in s]
    if order is not None:
        molecules = [ORDERS[order]()(molecule) for molecule in molecules]
    batch = torch.arange(len(s)).repeat_interleave(len(molecules[0].z))
    z, pos = (torch.cat([molecule[key] for molecule in molecules]) for key in ("z", "pos"))
    return net(z, pos, batch).squeeze(1)


def _curve(energies: Callable[[Tensor], Tensor], t: Tensor) -> dict[str, Any]:
    @torch.no_grad()
    def value(s: Tensor) -> Tensor:
        return energies(s)

    def force(s: Tensor) -> Tensor:
        s = s.clone().requires_grad_()
        return -torch.autograd.grad(energies(s).sum(), s)[0]

    energy, along = value(t), force(t)
    near, far = (value(t - h) - value(t + h) for h in (DIFFERENCE, 2 * DIFFERENCE))
    differences = (8 * near - far) / (12 * DIFFERENCE)
    unit = energy.std()
    return {
        "energy": _rounded((energy - energy.mean()) / unit),
        "force": _rounded(along / unit),
        "finite_difference_error": float((differences - along).abs().max() / along.abs().max()),
        "energy_step_ratio": _step_ratio(energy),
        "force_step_ratio": _step_ratio(along),
        "energy_jump": _jump(value, t, energy) / float(unit),
        "force_jump": _jump(force, t, along) / float(along.std()),
    }


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def _step_ratio(values: Tensor) -> float:
    steps = values.diff().abs()
    neighbours = torch.maximum(steps[:-2], steps[2:])
    return float((steps[1:-1] / neighbours).max())


def _jump(function: Callable[[Tensor], Tensor], t: Tensor, values: Tensor) -> float:
    """Follow the largest change into ever smaller intervals; what is left of it at the end."""
    k = int(values.diff().abs().argmax())
    places, values = t[k : k + 2], values[k : k + 2]
    while places[1] - places[0] > NARROW:
        middle = places.mean(dim=0, keepdim=True)
        places = torch.cat([places[:1], middle, places[1:]])
        values = torch.cat([values[:1], function(middle), values[1:]])
        half = int(values.diff().abs().argmax())
        places, values = places[half : half + 2], values[half : half + 2]
    return float(values.diff().abs())


def render(report: dict[str, Any]) -> str:
    """The table as Markdown."""
    lines = [
        "| mixer and order | jump of the energy | jump of the force | largest step of the energy "
        "/ its neighbours | of the force | force against finite differences |",
        "|---|---|---|---|---|---|",
    ]
    for name, curve in report["curves"].items():
        lines.append(
            f"| {name} | {curve['energy_jump']:.1e} | {curve['force_jump']:.1e} "
            f"| {curve['energy_step_ratio']:.1f} | {curve['force_step_ratio']:.1f} "
            f"| {curve['finite_difference_error']:.1e} |"
        )
    return "\n".join(lines)


def plot(report: dict[str, Any], path: Path) -> None:
    """Energy and force along the path, one row of panels per quantity."""
    figure = require("matplotlib.figure", "train").Figure(
        figsize=(8, 7), layout="constrained", dpi=150
    )
    panels = dict(zip(("energy", "force"), figure.subplots(2, 1, sharex=True), strict=True))
    for quantity, axes in panels.items():
        for number, (name, curve) in enumerate(report["curves"].items()):
            style = "-" if number == 0 else "."
            axes.plot(report["position"], curve[quantity], style, label=name, markersize=3)
        axes.grid(alpha=0.3)
    panels["energy"].set_ylabel("energy (its standard deviation)")
    panels["force"].set_ylabel("force on the atom along the path\n(the same unit per Å)")
    panels["force"].set_xlabel("place of the pulled atom along the long axis (Å)")
    panels["energy"].legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
