"""Learning alloys in periodic cells: energy, forces and stress labelled by a public calculator."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.harness.rows import Row, check_names, known
from benchmarks.harness.study import Cell, Config, Done, Study
from benchmarks.harness.tables import count_seeds, flatten, grid, minutes, parameters, select, table
from benchmarks.harness.training import fit
from e3hyena import HyenaNet
from e3hyena._extras import require
from e3hyena.models import energy_forces_stress
from e3hyena.ops.neighbours import neighbours

ROWS = {**known("coordinate"), "local": Row("local part only", None)}
LATTICE = {"Cu": 3.61, "Ag": 4.09, "Au": 4.08, "Ni": 3.52, "Pd": 3.89, "Pt": 3.92}  # Angstrom
TESTS = {"8 atoms": (2, 1, 1), "32 atoms": (2, 2, 2)}
QUANTITIES = ("energy", "force", "stress")


@dataclass(kw_only=True)
class CellsConfig(Config):
    """Random alloys on strained face-centred lattices, labelled by ASE's EMT.

    Parameters
    ----------
    rows : list of str
        Which networks.
    seeds : list of int
        Seeds of the weights; the cells are the same for all.
    train, test : int
        Cells of eight atoms to train on; cells of every size to test on.
    strain, rattle : float
        Standard deviations of the strain of a cell and of displacements (Angstrom).
    irreps : str
        Hidden irreps of the network.
    num_layers : int
        Its layers.
    cutoff : float
        Its cutoff (Angstrom).
    steps, batch_size, lr
        Of the training by AdamW.
    """

    rows: list[str] = field(default_factory=lambda: list(ROWS))
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    train: int = 240
    test: int = 40
    strain: float = 0.03
    rattle: float = 0.06
    irreps: str = "16x0e + 16x1o"
    num_layers: int = 2
    cutoff: float = 4.0
    steps: int = 800
    batch_size: int = 4
    lr: float = 5e-3

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)


class Crystal(NamedTuple):
    """One cell, its neighbours and its labels in eV and Angstrom."""

    z: Tensor
    pos: Tensor
    cell: Tensor
    edge_index: Tensor
    shifts: Tensor
    energy: Tensor
    force: Tensor
    stress: Tensor


def crystals(
    number: int, repeat: Sequence[int], seed: int, values: dict[str, Any]
) -> list[Crystal]:
    """Random cells and their labels; the same for a seed."""
    build, emt = require("ase.build", "chem"), require("ase.calculators.emt", "chem")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(number):
        atoms = build.bulk("Cu", cubic=True) * tuple(repeat)
        share = torch.rand(len(LATTICE), generator=generator).square()
        kinds = torch.multinomial(share, len(atoms), replacement=True, generator=generator)
        atoms.symbols = [list(LATTICE)[kind] for kind in kinds.tolist()]
        a = sum(LATTICE[symbol] for symbol in atoms.symbols) / len(atoms)
        strain = values["strain"] * torch.randn(3, 3, generator=generator, dtype=torch.float64)
        stretch = a / LATTICE["Cu"] * (torch.eye(3, dtype=torch.float64) + (strain + strain.T) / 2)
        atoms.set_cell(atoms.cell.array @ stretch.numpy(), scale_atoms=True)
        moves = torch.randn(len(atoms), 3, generator=generator, dtype=torch.float64)
        atoms.positions += values["rattle"] * moves.numpy()
        atoms.calc = emt.EMT()
        pos, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell.array)
        edge_index, shifts = neighbours(pos, values["cutoff"], cell=cell)
        labels = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
        energy, force, stress = (torch.tensor(label).float() for label in labels)
        z = torch.tensor(atoms.numbers).long()
        found.append(
            Crystal(z, pos.float(), cell.float(), edge_index, shifts, energy, force, stress)
        )
    return found


class Potential(nn.Module):
    """Energies of the elements, and a network in the unit of the forces."""

    def __init__(self, values: dict[str, Any], train: list[Crystal]) -> None:
        super().__init__()
        self.net = HyenaNet(
            "0e", irreps_hidden=values["irreps"], num_layers=values["num_layers"],
            cutoff=values["cutoff"], mixer=values["mixer"], mixer_options=values["mixer_options"],
        )  # fmt: skip
        counts = torch.stack([torch.bincount(crystal.z, minlength=119) for crystal in train])
        energy = torch.stack([crystal.energy for crystal in train]).double()
        of_elements = torch.linalg.lstsq(counts.double(), energy[:, None], driver="gelsd").solution
        self.register_buffer("of_elements", of_elements[:, 0].float())
        self.unit = float(torch.cat([crystal.force for crystal in train]).square().mean().sqrt())

    def forward(self, part: list[Crystal], create_graph: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Energies per atom, forces and stresses of some cells."""
        sizes = torch.tensor([len(crystal.z) for crystal in part])
        batch = torch.arange(len(part)).repeat_interleave(sizes)
        z, pos, shifts = (torch.cat([getattr(c, n) for c in part]) for n in ("z", "pos", "shifts"))
        first = (sizes.cumsum(0) - sizes).tolist()
        edges = [c.edge_index + start for c, start in zip(part, first, strict=True)]
        energy, force, stress = energy_forces_stress(
            self.net, z, pos, batch, torch.stack([crystal.cell for crystal in part]),
            edge_index=torch.cat(edges, dim=1), shifts=shifts, create_graph=create_graph,
        )  # fmt: skip
        total = self.unit * energy[:, 0]
        total = total.index_add(0, batch, self.of_elements[z])  # type: ignore[index]
        return total / sizes, self.unit * force, self.unit * stress


def labels(part: list[Crystal]) -> tuple[Tensor, Tensor, Tensor]:
    """What the potential should give."""
    return (
        torch.stack([crystal.energy / len(crystal.z) for crystal in part]),
        torch.cat([crystal.force for crystal in part]),
        torch.stack([crystal.stress for crystal in part]),
    )


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one network on all three labels; mean absolute errors on unseen cells."""
    train = crystals(values["train"], TESTS["8 atoms"], 0, values)
    tests = {
        name: crystals(values["test"], repeat, 1 + number, values)
        for number, (name, repeat) in enumerate(TESTS.items())
    }
    torch.manual_seed(values["seed"])
    model = Potential(values, train)
    units = [label.std() for label in labels(train)]

    def loss(model: nn.Module, part: list[Crystal]) -> Tensor:
        pairs = zip(model(part, True), labels(part), units, strict=True)
        return sum(((a - b) / unit).square().mean() for a, b, unit in pairs)  # type: ignore[return-value]

    options = {name: values[name] for name in ("steps", "lr")}
    trained = fit(
        model, _batches(train, values), loss, None, folder,
        warmup=0.05, weight_decay=0.0, validations=8, averaging=0.99, **options,
    )  # fmt: skip
    errors = {
        name: dict(zip(QUANTITIES, _errors(model(part, False), labels(part)), strict=True))
        for name, part in tests.items()
    }
    counted = {name: trained[name] for name in ("parameters", "seconds")}
    return {**counted, "errors": errors, "guess": _guess(model, tests)}


def _guess(model: Potential, tests: dict[str, list[Crystal]]) -> dict[str, dict[str, float]]:
    """Errors of the energy that follows from the composition, without force and stress."""
    found = {}
    for name, part in tests.items():
        wanted = labels(part)
        energy = torch.stack([model.of_elements[c.z].mean() for c in part])  # type: ignore[index]
        nothing = (energy, torch.zeros_like(wanted[1]), torch.zeros_like(wanted[2]))
        found[name] = dict(zip(QUANTITIES, _errors(nothing, wanted), strict=True))
    return found


def _errors(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[float]:
    return [float((a - b).abs().mean()) for a, b in zip(found, wanted, strict=True)]


def _batches(train: list[Crystal], values: dict[str, Any]) -> Iterator[list[Crystal]]:
    generator = torch.Generator().manual_seed(values["seed"])
    while True:
        order = torch.randperm(len(train), generator=generator).tolist()
        for start in range(0, len(train) - values["batch_size"] + 1, values["batch_size"]):
            yield [train[i] for i in order[start : start + values["batch_size"]]]


def list_cells(config: CellsConfig) -> list[Cell]:
    """All trainings; those of one seed come before the next seed."""
    names = ("train", "test", "strain", "rattle", "irreps", "num_layers", "cutoff", "steps")
    shared = config.only(*names, "batch_size", "lr")
    return [
        Cell(f"{row}-{seed}", {"row": row, "seed": seed, **ROWS[row].values(), **shared})
        for seed, row in itertools.product(config.seeds, config.rows)
    ]


def collect(config: CellsConfig, done: Done) -> dict[str, Any]:
    """Errors of all trainings, and of the guess, which is the same for all."""
    return {"cells": flatten(done["measure"], "row", "seed")}


def render(report: dict[str, Any]) -> str:
    """Errors in meV per atom, meV/Angstrom and meV/Angstrom^3."""
    rows = {
        "guess": "composition only",
        **{name: ROWS[name].label for name in report["config"]["rows"]},
    }
    columns = list(itertools.product(TESTS, QUANTITIES))

    def values(row: str, column: tuple[str, str]) -> list[float]:
        size, quantity = column
        if row == "guess":
            return [1000 * report["cells"][0]["guess"][size][quantity]]
        return [1000 * cell["errors"][size][quantity] for cell in select(report, row=row)]

    lines = grid(rows, columns, values, 1)
    for line, row in zip(lines, rows, strict=True):
        cells = select(report, row=row)
        line += [parameters(cells), minutes(cells)]
    units = {"energy": "energy, meV/atom", "force": "force, meV/Å", "stress": "stress, meV/Å³"}
    head = ["", *(f"{size}: {units[quantity]}" for size, quantity in columns)]
    config = report["config"]
    seeds = count_seeds(report, "row")
    what = (
        f"Mean absolute errors on {config['test']} unseen cells of each size, after "
        f"{config['steps']} steps on {config['train']} cells of 8 atoms, {seeds}, one thread:"
    )
    return f"{what}\n\n{table([*head, 'parameters', 'minutes'], lines)}"


STUDY = Study("cells", CellsConfig, list_cells, measure, {"cells": render}, collect=collect)
