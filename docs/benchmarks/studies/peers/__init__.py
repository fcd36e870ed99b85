"""Packages that people use beside ours: the same data, split and processor time of a training."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch

import e3hyena
from benchmarks.data.chains import GROUP, within_groups
from benchmarks.harness import (
    Cell,
    Config,
    Study,
    check_names,
    count_seeds,
    flatten,
    parameters,
    select,
    spread,
    table,
)
from e3hyena.data import TARGETS, Cumulenes, MD17Ethanol, QM9Extract

SIZES = {
    "ethanol": {"train": 1000, "val": 60, "test": 300},
    "gap": {"train": 10000, "val": 500, "test": 2000},
}


class Task(NamedTuple):
    """A table: its title, our network, molecules of a step, what is missed of what."""

    title: str
    hyena: dict[str, Any]
    batch_size: int
    columns: dict[str, str]


def _hyena(width: int, cutoff: float) -> dict[str, Any]:
    irreps = f"{width}x0e + {width}x1o + {width}x2e"
    return {"irreps_hidden": irreps, "num_layers": 2, "cutoff": cutoff}


TASKS = {
    "chains": Task(
        "C17H4",
        _hyena(16, 3.0),
        8,
        {
            "within": "energy within groups, RMSE (eV)",
            "energy_mae": "energy, MAE (eV)",
            "force_mae": "forces, MAE (eV/Å)",
        },
    ),
    "ethanol": Task(
        "ethanol",
        _hyena(32, 5.0),
        4,
        {"energy_mae": "energy, MAE (kcal/mol)", "force_mae": "forces, MAE (kcal/mol/Å)"},
    ),
    "gap": Task("QM9", _hyena(32, 5.0), 16, {"energy_mae": "gap, MAE (eV)"}),
}


class Peer(NamedTuple):
    """A row: its label, what its atoms hear in a chain and else, packages, learning rates."""

    label: str
    reach: tuple[str, str]
    packages: tuple[str, ...] = ()
    lrs: tuple[float, ...] = (2e-3, 8e-3)


ROWS = {
    "local": Peer("`HyenaNet`, messages alone", ("6 Å", "10 Å")),
    "coordinate": Peer("`HyenaNet`, `coordinate`", ("all", "all")),
    "nequip": Peer("NequIP", ("20 Å", "20 Å"), ("nequip", "e3nn"), (8e-3, 2e-2)),
    "tensornet": Peer("TorchMD-NET, TensorNet", ("10 Å", "10 Å"), ("torchmd-net",), (1e-3, 2e-3)),
    "painn": Peer("SchNetPack, PaiNN", ("15 Å", "15 Å"), ("schnetpack",)),
}


@dataclass(kw_only=True)
class PeersConfig(Config):
    """Networks of other packages, at the sizes of their defaults or examples.

    Parameters
    ----------
    python : str
        Interpreter of an environment with nequip, torchmd-net and schnetpack.
    tasks : list of str
        chains, ethanol, gap.
    rows : list of str
        Which networks; all of them by default.
    seeds : list of int
        Seeds of weights and batches.
    seconds : list of float
        Processor time of a training, for each task.
    trial : float
        Share of that time for each of two trainings before, by which a learning rate is chosen.
    root : str
        Folder of MD17.
    """

    python: str = "python"
    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    rows: list[str] = field(default_factory=lambda: list(ROWS))
    seeds: list[int] = field(default_factory=lambda: [0])
    seconds: list[float] = field(default_factory=lambda: [100.0, 300.0, 300.0])
    trial: float = 0.08
    root: str = "data/md17"

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        check_names("tasks", self.tasks, TASKS)
        if len(self.seconds) != len(self.tasks):
            raise ValueError(
                f"seconds has {len(self.seconds)} numbers; give one for each of "
                f"{len(self.tasks)} tasks"
            )

    def options(self) -> dict[str, Any]:
        """Without where things lie."""
        return {k: v for k, v in super().options().items() if k not in ("python", "root")}


def list_cells(config: PeersConfig) -> list[Cell]:
    """Trainings, those of one seed and task before the next."""
    options = config.only("root", "python")
    seconds = dict(zip(config.tasks, config.seconds, strict=True))
    found = []
    for seed, task, row in itertools.product(config.seeds, config.tasks, config.rows):
        times = {"seconds": seconds[task], "trial_seconds": round(config.trial * seconds[task], 6)}
        values = {"task": task, "row": row, "seed": seed, **times, "lrs": list(ROWS[row].lrs)}
        values |= options
        found.append(Cell(f"{task}-{row}-{seed}", values))
    return found


def _molecules(task: str, root: str, split: str) -> Any:
    """Of a split."""
    if task == "chains":
        return Cumulenes(split)
    of_split = QM9Extract(split) if task == "gap" else MD17Ethanol(root, split)
    return of_split[: SIZES[task][split]]


def write_data(task: str, root: str, file: Path) -> dict[str, Any]:
    """What `worker` reads; elements and the mean number of neighbours within 5 Å."""
    arrays: dict[str, Any] = {}
    names = ("z", "pos") if task == "gap" else ("z", "pos", "force")
    for split in ("train", "val", "test"):
        graphs = list(_molecules(task, root, split))
        made = {name: torch.cat([graph[name] for graph in graphs]) for name in names}
        made["sizes"] = torch.tensor([len(graph.z) for graph in graphs])
        values = [TARGETS["gap"].of(g) if task == "gap" else g.energy for g in graphs]
        made["value"] = torch.cat([value.flatten().double() for value in values])
        arrays |= {f"{split}_{name}": array.numpy() for name, array in made.items()}
    np.savez(file, **arrays)
    near = [int((torch.cdist(g.pos, g.pos) < 5).sum()) - len(g.z) for g in graphs]
    elements = {int(z) for name in arrays if name.endswith("_z") for z in np.unique(arrays[name])}
    return {"neighbours": sum(near) / len(arrays["test_z"]), "elements": sorted(elements)}


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run `worker` in the interpreter of the row."""
    row, task = ROWS[values["row"]], values["task"]
    job = {
        **values,
        **write_data(task, values["root"], folder / "data.npz"),
        "hyena": TASKS[task].hyena,
        "batch_size": TASKS[task].batch_size,
        "packages": row.packages,
    }
    (folder / "job.json").write_text(json.dumps(job))
    python = values["python"] if row.packages else sys.executable
    files = [folder / name for name in ("job.json", "data.npz", "result.json")]
    paths = str(Path(e3hyena.__file__).parents[1])
    command = [python, str(Path(__file__).with_name("worker.py")), *map(str, files)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{python}: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(files[-1].read_text())
    missed = np.array(result.pop("missed"))
    if task == "chains":
        group = np.arange(len(missed)) // GROUP
        result["within"] = float(np.sqrt(np.square(within_groups(missed, group)).mean()))
    return result


def collect(config: PeersConfig, done: Any) -> dict[str, Any]:
    """Cells without the paths of this machine."""
    return {"cells": flatten(done["measure"], "task", "row", "seed")}


def render(report: dict[str, Any]) -> str:
    """A table for each task."""
    config = report["config"]
    versions = {k: v for cell in report["cells"] for k, v in cell["versions"].items()}
    spent = ", ".join(
        f"{s:g} s ({TASKS[t].title})"
        for t, s in zip(config["tasks"], config["seconds"], strict=True)
    )
    text = (
        f"Processor time of a training: {spent}, one thread of {report['environment']['cpu']}; "
        f"learning rate the better of two after {100 * config['trial']:g} % of it each. "
        f"Mean (± standard deviation) of {count_seeds(report, 'task', 'row')}. "
        f"{', '.join(f'{name} {versions[name]}' for name in sorted(versions))}."
    )
    for name, task in TASKS.items():
        if not (found := select(report, task=name)):
            continue
        head = [task.title, *task.columns.values(), "an atom hears", "parameters", "learning rate"]
        head += ["steps", "ms per step"]
        body = []
        for row in [row for row in ROWS if any(cell["row"] == row for cell in found)]:
            cells = select(report, task=name, row=row)
            line = [spread(cell[key] for cell in cells) for key in task.columns]
            steps = [f"{mean(c[key] for c in cells):,.0f}" for key in ("steps", "milliseconds")]
            rates = ", ".join(f"{lr:g}" for lr in sorted({cell["lr"] for cell in cells}))
            about = [ROWS[row].reach[name != "chains"], parameters(cells), rates]
            body.append([ROWS[row].label, *line, *about, *steps])
        text += f"\n\n{table(head, body)}"
    return text


STUDY = Study("peers", PeersConfig, list_cells, measure, {"peers": render}, None, collect)
