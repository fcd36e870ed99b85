"""Packages that people use beside ours: the same data, split and processor time of a training."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
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
from e3hyena.data import Cumulenes, MD17Ethanol

ETHANOL = {"train": 1000, "val": 60, "test": 300}
HYENA = {
    "chains": {"irreps_hidden": "16x0e + 16x1o + 16x2e", "num_layers": 2, "cutoff": 3.0},
    "ethanol": {"irreps_hidden": "32x0e + 32x1o + 32x2e", "num_layers": 2, "cutoff": 5.0},
}
BATCH = {"chains": 8, "ethanol": 4}
TITLES = {"chains": ("C17H4", "eV"), "ethanol": ("ethanol", "kcal/mol")}


class Peer(NamedTuple):
    """A row: its label, what its atoms hear in both tasks, packages, learning rates to try."""

    label: str
    reach: tuple[str, str]
    packages: tuple[str, ...] = ()
    lrs: tuple[float, ...] = (2e-3, 8e-3)


ROWS = {
    "local": Peer("`HyenaNet`, messages alone", ("6 Å", "10 Å")),
    "coordinate": Peer("`HyenaNet`, `coordinate`", ("all", "all")),
    "nequip": Peer("NequIP", ("20 Å", "20 Å"), ("nequip", "e3nn")),
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
        chains, ethanol.
    rows : list of str
        Which networks; all of them by default.
    seeds : list of int
        Seeds of weights and batches.
    seconds : list of float
        Processor time of a training, for each task.
    trial_seconds : float
        Of each short training by which a learning rate is chosen before, by validation.
    root : str
        Folder of MD17.
    """

    python: str = "python"
    tasks: list[str] = field(default_factory=lambda: list(HYENA))
    rows: list[str] = field(default_factory=lambda: list(ROWS))
    seeds: list[int] = field(default_factory=lambda: [0])
    seconds: list[float] = field(default_factory=lambda: [100.0, 60.0])
    trial_seconds: float = 8.0
    root: str = "data/md17"

    def __post_init__(self) -> None:
        check_names("rows", self.rows, ROWS)
        check_names("tasks", self.tasks, HYENA)
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
    options = config.only("trial_seconds", "root", "python")
    seconds = dict(zip(config.tasks, config.seconds, strict=True))
    found = []
    for seed, task, row in itertools.product(config.seeds, config.tasks, config.rows):
        values = {"task": task, "row": row, "seed": seed, "seconds": seconds[task], **options}
        values["lrs"] = list(ROWS[row].lrs)
        found.append(Cell(f"{task}-{row}-{seed}", values))
    return found


def _frames(task: str, root: str) -> Iterator[tuple[str, Any]]:
    """Splits and their molecules."""
    if task == "chains":
        return ((split, Cumulenes(split)) for split in ("train", "val", "test"))
    return ((s, MD17Ethanol(root, s)[:size]) for s, size in ETHANOL.items())


def write_data(task: str, root: str, file: Path) -> float:
    """What `worker` reads; mean number of neighbours within 5 Å."""
    arrays: dict[str, Any] = {}
    for split, molecules in _frames(task, root):
        graphs = list(molecules)
        arrays["z"] = graphs[0].z.numpy()
        arrays[f"{split}_energy"] = torch.cat([g.energy.flatten() for g in graphs]).numpy()
        for name in ("pos", "force"):
            arrays[f"{split}_{name}"] = torch.stack([graph[name] for graph in graphs]).numpy()
    np.savez(file, **arrays)
    pos = torch.from_numpy(arrays["val_pos"])
    return float((torch.cdist(pos, pos) < 5).sum(dim=-1).float().mean() - 1)


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run `worker` in the interpreter of the row."""
    row, task = ROWS[values["row"]], values["task"]
    neighbours = write_data(task, values["root"], folder / "data.npz")
    job = {
        **values,
        "neighbours": neighbours,
        "hyena": HYENA[task],
        "batch_size": BATCH[task],
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
    spent = " and ".join(
        f"{s:g} s ({t})" for t, s in zip(config["tasks"], config["seconds"], strict=True)
    )
    text = (
        f"{spent} of processor time for each training, one thread of "
        f"{report['environment']['cpu']}; learning rate the better of two after "
        f"{config['trial_seconds']:g} s each. "
        f"Mean (± standard deviation) of {count_seeds(report, 'task', 'row')}. "
        f"{', '.join(f'{name} {versions[name]}' for name in sorted(versions))}."
    )
    for place, task in enumerate(HYENA):
        if not (found := select(report, task=task)):
            continue
        name, unit = TITLES[task]
        columns = {"within": f"energy within groups, RMSE ({unit})"} if task == "chains" else {}
        columns |= {"energy_mae": f"energy, MAE ({unit})", "force_mae": f"forces, MAE ({unit}/Å)"}
        head = [name, *columns.values(), "an atom hears", "parameters", "learning rate"]
        head += ["steps", "ms per step"]
        body = []
        for row in [row for row in ROWS if any(cell["row"] == row for cell in found)]:
            cells = select(report, task=task, row=row)
            line = [spread(cell[key] for cell in cells) for key in columns]
            steps = [f"{cells[0][key]:,.0f}" for key in ("steps", "milliseconds")]
            about = [ROWS[row].reach[place], parameters(cells), f"{cells[0]['lr']:g}"]
            body.append([ROWS[row].label, *line, *about, *steps])
        text += f"\n\n{table(head, body)}"
    return text


STUDY = Study("peers", PeersConfig, list_cells, measure, {"peers": render}, None, collect)
