"""The trainings of ``make demo`` over several seeds: is the mixer better beyond their spread?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness.rows import check_names
from benchmarks.harness.study import Cell, Config, Done, Study
from benchmarks.harness.tables import count_seeds, flatten, select, spread, table
from e3hyena.training import train
from e3hyena.training.presets import PRESETS
from e3hyena.training.tasks import metric_labels, recorded_task

ROWS = {
    "model": "with mixer",
    "without_mixer": "messages alone",
    "mean_predictor": "mean predictor",
}


@dataclass(kw_only=True)
class DemoConfig(Config):
    """Both presets of the demo, each with and without the mixer.

    Parameters
    ----------
    presets : list of str
        Dipoles of QM9 ("demo"), energies and forces of a chain ("chain").
    seeds : list of int
        Seeds of the weights and of the order of the molecules.
    """

    presets: list[str] = field(default_factory=lambda: ["demo", "chain"])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])

    def __post_init__(self) -> None:
        check_names("presets", self.presets, ("demo", "chain"))


def list_cells(config: DemoConfig) -> list[Cell]:
    """One run of the command line each; those of one seed come before the next seed."""
    return [
        Cell(f"{preset}-{seed}", {"preset": preset, "seed": seed})
        for seed, preset in itertools.product(config.seeds, config.presets)
    ]


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train both networks for equal steps; errors on the test molecules, steps and seconds."""
    preset = PRESETS[values["preset"]]
    results = train(
        replace(preset, seed=values["seed"], output=str(folder / "run"), max_minutes=None)
    )
    rows = {
        name: {key: results["rows"][name].get(key) for key in ("test", "steps", "seconds")}
        for name in ROWS
    }
    return {"labels": metric_labels(recorded_task(results)), "rows": rows}


def collect(config: DemoConfig, done: Done) -> dict[str, Any]:
    """All runs."""
    return {"cells": flatten(done["measure"], "preset", "seed")}


def render(report: dict[str, Any]) -> str:
    """Test errors, mean and standard deviation over the seeds; how long the mixer takes."""
    body = []
    for preset in report["config"]["presets"]:
        cells = select(report, preset=preset)
        if not cells:
            continue
        with_mixer, without = (
            [cell["rows"][name] for cell in cells] for name in ("model", "without_mixer")
        )
        ratio = median(
            a["seconds"] / b["seconds"] for a, b in zip(with_mixer, without, strict=True)
        )
        steps = f"{with_mixer[0]['steps']:,} / {without[0]['steps']:,}"
        for metric, label in cells[0]["labels"].items():
            errors = [spread(c["rows"][name]["test"][metric] for c in cells) for name in ROWS]
            what = label if preset == "demo" else f"C17H4, {label}"
            body.append([what, *errors, steps, f"{ratio:.2f}x"])
    head = ["test error", *ROWS.values(), "steps", "time of the training, with / without"]
    note = f"Mean ± standard deviation over {count_seeds(report, 'preset')}; time: median."
    return f"{note}\n\n{table(head, body)}"


STUDY = Study("demo", DemoConfig, list_cells, measure, {"demo": render}, collect=collect)
