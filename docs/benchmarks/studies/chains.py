"""Cumulenes: how one end is turned against the other, which no local network can know."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.data.chains import SPLITS, Chains, floor, label, load, straight, turn, within_groups
from benchmarks.harness import (
    Cell,
    Config,
    Done,
    Row,
    Study,
    check_names,
    count_seeds,
    fit,
    flatten,
    grid,
    known,
    labels,
    minutes,
    parameters,
    plain,
    select,
    style,
    table,
)
from e3hyena.models import HyenaNet, energy_and_forces

ROWS = {
    "local": Row("messages alone", None),
    **known("coordinate", "attention", "linear_attention"),
    "query_key": Row("`query_key`, from end to end", "query_key"),
}
SCAN = list(range(0, 91, 5))  # torsions of the straight chain, degrees
COLUMNS = ("within", "energy_mae", "force_mae")


@dataclass(kw_only=True)
class ChainsConfig(Config):
    """The comparison on cumulenes.

    Parameters
    ----------
    rows : list of str
        Which mixers; all of them by default.
    seeds : list of int
        Seeds of the weights and of the order of the chains.
    num_carbons : int
        Length of the chains.
    train_size : int
        Chains to learn from.
    test_size : int
        Chains of the test, in groups of eight.
    irreps : str
        Hidden irreps.
    num_layers : int
        Depth. A local network reaches as many cutoffs.
    cutoff : float
        Radius of the messages (Angstrom).
    steps : int
        Training steps.
    batch_size : int
        Chains per step.
    lr : float
        Largest learning rate of AdamW; cosine schedule.
    """

    rows: list[str] = field(default_factory=lambda: list(ROWS))
    seeds: list[int] = field(default_factory=lambda: [0])
    num_carbons: int = 17
    train_size: int = SPLITS["train"]
    test_size: int = SPLITS["test"]
    irreps: str = "16x0e + 16x1o + 16x2e"
    num_layers: int = 2
    cutoff: float = 4.0
    steps: int = 2500
    batch_size: int = 16
    lr: float = 5e-3
    jobs: int = 2

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)


def list_cells(config: ChainsConfig) -> list[Cell]:
    """All trainings, those of one seed before the next; and the labels that they need."""
    chains = config.only("num_carbons", "train_size", "test_size")
    network = config.only("irreps", "num_layers", "cutoff", "steps", "batch_size", "lr")
    trainings = [
        Cell(
            f"{row}-{seed}",
            {"row": row, **ROWS[row].values(), "seed": seed, **chains, **network},
            stage="train",
        )
        for seed, row in itertools.product(config.seeds, config.rows)
    ]
    return [*trainings, Cell("labels", chains, stage="label")]


def _chains(values: dict[str, Any], folder: Path) -> dict[str, Chains]:
    sizes = {**SPLITS, "train": values["train_size"], "test": values["test_size"]}
    root = folder.parents[1] / "data"
    return {split: load(root, split, values["num_carbons"], n) for split, n in sizes.items()}


def compute_labels(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All chains, kept for the trainings; what a local network cannot do, and the true scan."""
    test = _chains(values, folder)["test"]
    z, pos = straight(values["num_carbons"])
    energies = [label(z, turn(pos, torsion))[0] for torsion in SCAN]
    return {
        "floor": floor(test),
        "std": float(test.energy.std()),
        "scan": [energy - energies[0] for energy in energies],
    }


class Energies(NamedTuple):
    """Chains as tensors, energies in the network's scale."""

    pos: Tensor
    energy: Tensor


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network on energies, keep the averaged state that validates best, test it.

    Returns
    -------
    result : dict
        Root mean square error within groups and mean absolute errors of energies (eV) and of the
        components of the forces (eV/A); energies of the straight chain by torsion (eV, relative to
        the first); what `fit` gives.
    """
    torch.manual_seed(values["seed"])
    data = _chains(values, folder)
    z = torch.from_numpy(data["train"].z)
    shift, scale = data["train"].energy.mean(), data["train"].energy.std()
    ready = {
        split: Energies(
            torch.from_numpy(chains.pos).float(),
            torch.from_numpy((chains.energy - shift) / scale).float(),
        )
        for split, chains in data.items()
    }
    model = HyenaNet(
        "0e",
        irreps_hidden=values["irreps"],
        num_layers=values["num_layers"],
        cutoff=values["cutoff"],
        mixer=values["mixer"],
        mixer_options=values["mixer_options"],
        pool="mean",
        ordered=True,
    )

    def loss(model: nn.Module, batch: Energies) -> Tensor:
        return (_predict(model, z, batch.pos) - batch.energy).square().mean()

    @torch.no_grad()
    def validate(model: nn.Module) -> float:
        return float(loss(model, ready["val"]))

    result = fit(
        model,
        _shuffled(ready["train"], values["batch_size"]),
        loss,
        validate,
        folder,
        steps=values["steps"],
        lr=values["lr"],
        warmup=0.05,
        weight_decay=1e-4,
        validations=25,
        averaging=0.99,
    )
    test, pos = data["test"], ready["test"].pos
    energy, force = (scale * part for part in _forces(model, z, pos))
    missed = energy + shift - test.energy
    planar = straight(values["num_carbons"])[1]
    turned = torch.from_numpy(np.stack([turn(planar, torsion) for torsion in SCAN])).float()
    scan = scale * _forces(model, z, turned)[0]
    return {
        "within": float(np.sqrt(np.mean(within_groups(missed, test.group) ** 2))),
        "energy_mae": float(np.abs(missed).mean()),
        "force_mae": float(np.abs(force - test.force).mean()),
        "scan": (scan - scan[0]).tolist(),
        **result,
    }


def _shuffled(chains: Energies, size: int) -> Iterator[Energies]:
    """Batches without end, every chain once per round; an incomplete batch is left out."""
    size = min(size, len(chains.pos))
    while True:
        for chosen in torch.randperm(len(chains.pos)).split(size):
            if len(chosen) == size:
                yield Energies(chains.pos[chosen], chains.energy[chosen])


def _batch(z: Tensor, pos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    number = len(pos)
    return z.repeat(number), pos.flatten(0, 1), torch.arange(number).repeat_interleave(len(z))


def _predict(model: nn.Module, z: Tensor, pos: Tensor) -> Tensor:
    """Energies of chains, ``(num_chains,)``."""
    energy: Tensor = model(*_batch(z, pos))
    return energy.squeeze(-1)


def _forces(model: HyenaNet, z: Tensor, pos: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Energies and forces of chains, some at a time."""
    parts = [energy_and_forces(model, *_batch(z, part)) for part in pos.split(50)]
    energy, force = (torch.cat(values).double().numpy() for values in zip(*parts, strict=True))
    return energy[:, 0], force.reshape(pos.shape)


def collect(config: ChainsConfig, done: Done) -> dict[str, Any]:
    """What the labels say, and what is measured."""
    (truth,) = [cell["result"] for cell in done["label"]]
    cells = flatten(done["train"], "row", "seed")
    return {"labels": labels(config.rows, ROWS), "truth": truth, "cells": cells}


def render(report: dict[str, Any]) -> str:
    """Caption, table and plot in Markdown."""
    config, truth = report["config"], report["truth"]
    n = config["num_carbons"]
    lines = grid(
        report["labels"],
        COLUMNS,
        lambda row, column: [cell[column] for cell in select(report, row=row)],
        4,
    )
    for line, row in zip(lines, report["labels"], strict=True):
        cells = select(report, row=row)
        line += [parameters(cells), minutes(cells)]
    floor = ["floor of any local network", f"{truth['floor']:.4f}", "", "", "", ""]
    caption = (
        f"C{n}H4, energies by GFN2-xTB; errors on {config['test_size']} chains, mean ± standard "
        f"deviation over {count_seeds(report, 'row')}. All rows: {config['irreps']}, "
        f"{config['num_layers']} layers, messages within {config['cutoff']:g} Å, "
        f"{config['steps']:,} steps of {config['batch_size']} chains out of "
        f"{config['train_size']:,}, learning rate {config['lr']:g}, trained on energies alone. "
        f"Minutes: processor time of a training, {report['environment']['cpu']}."
    )
    head = ["", "within groups, RMSE (eV)", "energy, MAE (eV)", "forces, MAE (eV/Å)"]
    plot = "![Energy against torsion](results/chains.png)"
    return "\n\n".join([caption, table([*head, "parameters", "minutes"], [*lines, floor]), plot])


def draw(report: dict[str, Any], figure: Any) -> None:
    """Energy of the straight chain against its torsion: true, and by every network."""
    figure.set_size_inches(6.4, 4.2)
    axes = figure.subplots()
    axes.plot(SCAN, report["truth"]["scan"], "k-", linewidth=3, alpha=0.3, label="GFN2-xTB")
    for place, (row, name) in enumerate(report["labels"].items()):
        scans = [cell["scan"] for cell in select(report, row=row)]
        if scans:
            means = [mean(values) for values in zip(*scans, strict=True)]
            axes.plot(SCAN, means, linewidth=1, label=plain(name), **style(place))
    title = f"C{report['config']['num_carbons']}H4"
    axes.set(xlabel="torsion (degrees)", ylabel="energy (eV)", title=title)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small")


STUDY = Study(
    "chains",
    ChainsConfig,
    list_cells,
    {"label": compute_labels, "train": train},
    {"chains": render},
    draw,
    collect,
)
