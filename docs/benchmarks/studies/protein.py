"""Far electrostatics of real proteins: what charges beyond a cutoff do to every atom."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.data.proteins import Protein, large_proteins, redrawn, small_proteins
from benchmarks.harness.plots import draw_dots
from benchmarks.harness.rows import Row, check_names, labels
from benchmarks.harness.study import Cell, Config, Done, Study
from benchmarks.harness.tables import count_seeds, flatten, grid, minutes, parameters, select, table
from benchmarks.harness.training import fit
from benchmarks.networks.far_net import FIELD, POTENTIAL, FarNet
from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.segments import Segments

SQUARE = {"degree": 2}
VIRTUAL = {"modes": 1, "degree": 0, "sharpening": 0}
RANGE = {"range": 40.0, "heads": 4}
ROWS = {
    "local": Row("local network alone (any order)", None),
    "egnn": Row("EGNN (any order)", "egnn"),
    "virtual": Row("virtual node: one weighted mean (any order)", "coordinate", VIRTUAL),
    "coordinate": Row("`coordinate`, degree 2 (any order)", "coordinate", SQUARE),
    "coordinate_range": Row(
        "`coordinate`, range 40 Å (any order)", "coordinate", {**RANGE, "modes": 1, "degree": 0}
    ),
    "linear_attention": Row("`linear_attention` (any order)", "linear_attention"),
    "query_key": Row("`query_key` (order of the chain)", "query_key"),
    "attention": Row("`attention` (any order)", "attention"),
    "attention_range": Row("`attention`, range 40 Å (any order)", "attention", RANGE),
}
Graph = tuple[Protein, Tensor]  # with its edges
VOLT = 14.3996  # what a charge e has for a potential at 1 Angstrom
QUANTITIES = ("potential", "field")
BUDGETS = {"steps": "equal steps", "time": "equal time"}


@dataclass(kw_only=True)
class ProteinConfig(Config):
    """The comparison on proteins; every row is equivariant under E(3).

    Parameters
    ----------
    rows : list of str
        Which networks; all of them by default.
    budgets : list of str
        "steps": the same number of steps for all; "time": the same processor time for all.
    seeds : list of int
        Seeds of the weights and of the order of the proteins.
    width : int
        Scalars, and vectors, per atom; an EGNN has four times as many scalars.
    num_layers : int
        Depth of every network.
    cutoff : float
        Radius of the local part (angstrom).
    steps : int
        Training steps.
    atoms : int
        A step takes proteins of together so many atoms, or one.
    seconds : float
        Processor time of a training with the budget "time".
    largest : int
        Training proteins have at most so many atoms.
    lr : float
        Largest learning rate; cosine schedule.
    """

    rows: list[str] = field(default_factory=lambda: list(ROWS))
    budgets: list[str] = field(default_factory=lambda: ["steps", "time"])
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    width: int = 16
    num_layers: int = 2
    cutoff: float = 6.0
    steps: int = 1000
    atoms: int = 2000
    seconds: float = 1500.0
    largest: int = 1500
    lr: float = 5e-3
    jobs: int = 2

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        check_names("budgets", self.budgets, BUDGETS)


def list_cells(config: ProteinConfig) -> list[Cell]:
    """The data, then all trainings; those of one seed come before the next seed."""
    shared = config.only("width", "num_layers", "cutoff", "atoms", "largest", "lr")
    trainings = [
        Cell(
            f"{row}-{budget}-{seed}",
            {
                "row": row,
                **ROWS[row].values(),
                "budget": budget,
                budget: amount,
                "seed": seed,
                **shared,
            },
            stage="train",
        )
        for seed, budget, row in itertools.product(config.seeds, config.budgets, config.rows)
        for amount in [config.steps if budget == "steps" else config.seconds]
    ]
    large = [replace(cell, name=f"{cell.name}-large", stage="large") for cell in trainings]
    return [Cell("data", {}, stage="data"), *trainings, *large]


def prepare(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Small proteins with their labels, kept for the trainings; proteins and atoms by split."""
    splits = load(folder, "small")
    return {split: [len(some), sum(len(p.z) for p in some)] for split, some in splits.items()}


def load(folder: Path, size: str) -> dict[str, list[Protein]]:
    """Proteins by split, from the folder ``data`` beside the parent of `folder`."""
    file = folder.parents[1] / "data" / f"{size}.pt"
    if not file.exists():
        made = small_proteins() if size == "small" else (large_proteins(),)
        splits = zip(("train", "test") if size == "small" else ("large",), made, strict=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({split: [tuple(p) for p in some] for split, some in splits}, file)
    return {split: [Protein(*p) for p in some] for split, some in torch.load(file).items()}


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network, test it on unseen proteins and on large complexes."""
    torch.manual_seed(values["seed"])
    data, cutoff = load(folder, "small"), values["cutoff"]
    proteins = [p for p in data["train"] if len(p.z) <= values["largest"] and p.charge.any()]
    graphs = [(p, neighbours(p.pos, cutoff)[0]) for p in proteins]
    unit = torch.tensor([POTENTIAL, FIELD, FIELD, FIELD])
    model = build(values)

    def loss(model: nn.Module, some: list[Graph]) -> Tensor:
        some = [(redrawn(p), edges) for p, edges in some]
        wanted = torch.cat([target(p) for p, _ in some])
        off = ((predict(model, some) - wanted) / unit).square().mean(dim=0)
        return off[0] + off[1:].mean()

    steps = values.get("steps") or _count_steps(model, graphs, loss, values)
    schedule = {"steps": steps, "lr": values["lr"], "warmup": 0.05, "weight_decay": 1e-4}
    batches = _shuffled(graphs, values["atoms"])
    done = fit(model, batches, loss, None, folder, validations=50, **schedule)
    return {
        "test": score(model, data["test"], cutoff),
        "steps": steps,
        "parameters": done["parameters"],
        "seconds": done["seconds"],
    }


def build(values: dict[str, Any]) -> FarNet:
    """The network of a row."""
    options = ("width", "num_layers", "cutoff", "mixer_options")
    return FarNet(values["mixer"], **{key: values[key] for key in options})


def extrapolate(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Test a trained network on complexes of 10,000 to 45,000 atoms."""
    model = build(values)
    model.load_state_dict(
        torch.load(folder.with_name(folder.name.removesuffix("-large")) / "weights.pt")
    )
    return {p.name: score(model, [p], values["cutoff"]) for p in load(folder, "large")["large"]}


def predict(model: nn.Module, some: list[Graph]) -> Tensor:
    """Of proteins as one batch, ``(T, 4)``."""
    segments = Segments(tuple(len(p.z) for p, _ in some))
    edges = torch.cat([e + start for (_, e), start in zip(some, segments.starts, strict=True)], 1)
    atoms = (torch.cat([getattr(p, key) for p, _ in some]) for key in ("z", "pos", "charge"))
    made: Tensor = model(*atoms, edges, segments)
    return made


def _count_steps(model: nn.Module, graphs: list[Graph], loss: Any, values: dict[str, Any]) -> int:
    """Steps that fit in the time, from some of them."""
    batches, number, start = _shuffled(graphs, values["atoms"]), 8, time.process_time()
    for _ in range(number):
        loss(model, next(batches)).backward()
    model.zero_grad()
    return max(1, int(values["time"] * number / (time.process_time() - start)))


def target(p: Protein) -> Tensor:
    """Potential and field, ``(N, 4)``."""
    return torch.cat([p.potential[:, None], p.field], dim=1)


@torch.no_grad()
def score(model: nn.Module, proteins: list[Protein], cutoff: float) -> dict[str, dict[str, float]]:
    """R2 over all atoms of all proteins and mean absolute error (V, V/A), by quantity."""
    y = torch.cat([target(p) for p in proteins])
    made = [predict(model, [(p, neighbours(p.pos, cutoff)[0])]) for p in proteins]
    off, spread = torch.cat(made) - y, y - y.mean(dim=0)
    found = {}
    for name, part in zip(QUANTITIES, (slice(0, 1), slice(1, 4)), strict=True):
        r2 = 1 - off[:, part].square().sum() / spread[:, part].square().sum()
        mae = VOLT * off[:, part].norm(dim=1).mean()
        found[name] = {"r2": float(r2), "mae": float(mae)}
    return found


def _shuffled(graphs: list[Graph], atoms: int) -> Iterator[list[Graph]]:
    """Batches of up to so many atoms, or of one protein."""
    some: list[Graph] = []
    while True:
        for place in torch.randperm(len(graphs)).tolist():
            if some and sum(len(p.z) for p, _ in some) + len(graphs[place][0].z) > atoms:
                yield some
                some = []
            some.append(graphs[place])


def collect(config: ProteinConfig, done: Done) -> dict[str, Any]:
    """Labels, sizes of the splits, scores."""
    cells = flatten(done["train"], "row", "budget", "seed")
    large = [{**cell["config"], "large": cell["result"]} for cell in done["large"]]
    for cell in cells:
        same = select({"cells": large}, row=cell["row"], budget=cell["budget"], seed=cell["seed"])
        cell["large"] = same[0]["large"] if same else {}
    data = done["data"][0]["result"]
    return {"labels": labels(config.rows, ROWS), "data": data, "cells": cells}


def _scores(report: dict[str, Any], row: str, column: tuple[str, str, str]) -> list[float]:
    budget, quantity, key = column
    return [c["test"][quantity][key] for c in select(report, row=row, budget=budget)]


def render(report: dict[str, Any]) -> str:
    """Two tables: unseen proteins, large complexes; and the plot."""
    config, data = report["config"], report["data"]
    budgets = [b for b in config["budgets"] if select(report, budget=b)]
    columns = [(b, q, k) for b in budgets for q in QUANTITIES for k in ("r2", "mae")]
    units = {"potential": "V", "field": "V/Å"}
    names = {"r2": "R²", "mae": "MAE"}
    head = [
        f"{BUDGETS[b]}: {names[k]} of the {q}{f' ({units[q]})' if k == 'mae' else ''}"
        for b, q, k in columns
    ]
    lines = grid(report["labels"], columns, lambda row, at: _scores(report, row, at), 3)
    for row, line in zip(report["labels"], lines, strict=True):
        cells = select(report, row=row, budget=budgets[0])
        line += [parameters(cells), minutes(cells)]
    first = table(["network", *head, "parameters", "minutes"], lines)
    caption = (
        f"Unseen proteins, mean ± standard deviation over "
        f"{count_seeds(report, 'row', 'budget')}; trained on proteins of 300 to "
        f"{config['largest']:,} atoms, tested on {data['test'][0]} of other families with "
        f"{data['test'][1]:,} atoms. Width {config['width']}, {config['num_layers']} layers, local "
        f"part {config['cutoff']:g} Å, {config['steps']:,} steps of {config['atoms']:,} atoms "
        f"whose residues' charges are drawn anew (equal time: {config['seconds'] / 60:.0f} min of "
        f"processor time). Minutes: processor time with "
        f"{BUDGETS[budgets[0]]}."
    )
    plot = "![Far field of unseen proteins](results/protein.png)"
    return "\n\n".join([caption, first, *_large(report, budgets[0]), plot])


def _large(report: dict[str, Any], budget: str) -> list[str]:
    names = max((list(cell["large"]) for cell in report["cells"]), key=len)
    columns = [(name, quantity) for name in names for quantity in QUANTITIES]

    def errors(row: str, at: tuple[str, str]) -> list[float]:
        cells = select(report, row=row, budget=budget)
        return [cell["large"][at[0]][at[1]]["mae"] for cell in cells if cell["large"]]

    head = ["MAE, network", *(f"{name}, {quantity}" for name, quantity in columns)]
    return [table(head, grid(report["labels"], columns, errors, 3))] if names else []


def draw(report: dict[str, Any], figure: Any) -> None:
    """Error of potential and field on unseen proteins, by row."""
    figure.set_size_inches(11, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, quantity in zip(panels, QUANTITIES, strict=True):
        for budget in report["config"]["budgets"]:
            rows = {
                label: _scores(report, row, (budget, quantity, "mae"))
                for row, label in report["labels"].items()
            }
            draw_dots(axes, rows, label=BUDGETS[budget])
        axes.set_xscale("linear")
        axes.set(
            xlabel=f"mean absolute error of the far {quantity} (V{'/Å' * (quantity == 'field')})"
        )
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)


STUDY = Study(
    "protein",
    ProteinConfig,
    list_cells,
    {"data": prepare, "train": train, "large": extrapolate},
    {"protein": render},
    draw,
    collect,
)
