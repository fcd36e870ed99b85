"""Energy and force while an atom is pulled through a molecule."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from benchmarks.harness import Config, plain_study, table
from benchmarks.studies.symmetry import build
from e3hyena.data import ORDERS, QM9Extract

CURVES = {"coordinate": None, "query_key, spectral": "spectral", "query_key, distance": "distance"}
DIFFERENCE = 3e-4  # step of the central finite differences of fourth order, Angstrom
FOLLOWED = 20  # changes between neighbouring points in which a jump is looked for
NARROW = 1e-9  # width to which they are narrowed, Angstrom


@dataclass(kw_only=True)
class PathConfig(Config):
    """What to compute: small networks with perturbed weights, float64, one per curve.

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
    """

    molecule: int = 0
    element: int = 8
    offset: float = 1.5
    reach: float = 6.0
    points: int = 601
    cutoff: float | None = None
    seed: int = 0


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A curve for every mixer and order; energies in their standard deviation along the path."""
    molecule = QM9Extract("test")[values["molecule"]]
    t = torch.linspace(-values["reach"], values["reach"], values["points"], dtype=torch.float64)
    place = pulled(molecule, values)

    def curve(name: str, order: str | None) -> dict[str, Any]:
        net = build(name.partition(",")[0], values["seed"], "0e", values["cutoff"])
        net.requires_grad_(False)

        def energies(s: Tensor) -> Tensor:
            """At the places ``(P,)``, atoms put into the order anew at each."""
            molecules = [place(x) for x in s]
            if order is not None:
                molecules = [ORDERS[order]()(molecule) for molecule in molecules]
            batch = Batch.from_data_list(molecules)
            return net(batch.z, batch.pos, batch.batch).squeeze(1)

        return _curve(energies, t)

    curves = {name: curve(name, order) for name, order in CURVES.items()}
    return {"smiles": molecule.smiles, "position": _rounded(t), "curves": curves}


def pulled(molecule: Data, values: dict[str, Any]) -> Callable[[Tensor], Data]:
    """The molecule and one more atom, as a differentiable function of the latter's place."""
    pos = molecule.pos.double()
    centre = pos.mean(dim=0)
    axes = torch.linalg.eigh((pos - centre).T @ (pos - centre)).eigenvectors
    z = torch.cat([molecule.z, torch.tensor([values["element"]])])

    def place(s: Tensor) -> Data:
        atom = centre + values["offset"] * axes[:, 0] + s * axes[:, 2]
        return Data(z=z, pos=torch.cat([pos, atom[None]]))

    return place


def _curve(energies: Callable[[Tensor], Tensor], t: Tensor) -> dict[str, Any]:
    value = torch.no_grad()(energies)

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
    """Largest change over the larger one of those before and after: about one where smooth."""
    steps = values.diff().abs()
    neighbours = torch.maximum(steps[:-2], steps[2:]).clamp(min=1e-12 * float(steps.max()))
    return float((steps[1:-1] / neighbours).max())


def _jump(function: Callable[[Tensor], Tensor], t: Tensor, values: Tensor) -> float:
    """Follow the largest changes into ever smaller intervals; the most that is left of one."""
    k = values.diff().abs().topk(FOLLOWED).indices
    start, end, before, after = t[k], t[k + 1], values[k], values[k + 1]
    while (end - start).max() > NARROW:
        middle = (start + end) / 2
        value = function(middle)
        first = (value - before).abs() > (after - value).abs()
        start, end = start.where(first, middle), middle.where(first, end)
        before, after = before.where(first, value), value.where(first, after)
    return float((after - before).abs().max())


def render(report: dict[str, Any]) -> str:
    head = {
        "jump of the energy": ("energy_jump", ".1e"),
        "jump of the force": ("force_jump", ".1e"),
        "largest step of the energy / its neighbours": ("energy_step_ratio", ".1f"),
        "of the force": ("force_step_ratio", ".1f"),
        "force against finite differences": ("finite_difference_error", ".1e"),
    }
    rows = [
        [name, *(format(curve[key], digits) for key, digits in head.values())]
        for name, curve in report["curves"].items()
    ]
    return table(["mixer and order", *head], rows)


def draw(report: dict[str, Any], figure: Any) -> None:
    """Energy above force, along the path."""
    figure.set_size_inches(8, 7)
    energy, force = figure.subplots(2, 1, sharex=True)
    for axes, quantity in ((energy, "energy"), (force, "force")):
        for number, (name, curve) in enumerate(report["curves"].items()):
            style = "." if number else "-"
            axes.plot(report["position"], curve[quantity], style, label=name, markersize=3)
        axes.grid(alpha=0.3)
    energy.set_ylabel("energy (its standard deviation)")
    force.set_ylabel("force on the atom along the path\n(the same unit per Å)")
    force.set_xlabel("place of the pulled atom along the long axis (Å)")
    energy.legend(fontsize="small")


STUDY = plain_study("path", PathConfig, measure, render, draw)
