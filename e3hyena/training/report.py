"""The final table and ``results.json``."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from e3hyena import __version__
from e3hyena.training.tasks import metric_labels, recorded_task

TITLES = {"without_mixer": "same without mixer", "mean_predictor": "mean predictor"}
PACKAGES = ("torch", "e3nn", "torch-geometric", "lightning", "numpy")


def environment(device: str) -> dict[str, Any]:
    """Versions and machine, for the record of a run."""
    versions = {"python": platform.python_version(), "e3hyena": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    machine = {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }
    return {"versions": versions, "machine": machine}


def render_table(results: dict[str, Any]) -> str:
    """The final table in Markdown, aligned so that it reads well in a terminal too.

    Examples
    --------
    >>> print(render_table({"task": "gap", "mixer": "filter", "test_size": 2, "rows": {
    ...     "model": {"test": {"mae": 0.5}, "ratio": 4.0, "parameters": 10, "seconds": 60.0,
    ...               "steps": 6},
    ...     "mean_predictor": {"test": {"mae": 2.0}, "ratio": 1.0}}}))
    | test set, 2 molecules | gap, MAE (eV) | below mean predictor | parameters | steps | minutes |
    |-----------------------|---------------|----------------------|------------|-------|---------|
    | filter mixer          |        0.5000 |                4.00x |         10 |     6 |     1.0 |
    | mean predictor        |        2.0000 |                1.00x |            |       |         |
    """
    labels = metric_labels(recorded_task(results))
    mixer = results["mixer"]
    head = [
        f"test set, {results['test_size']:,} molecules",
        *labels.values(),
        "below mean predictor",
        "parameters",
        "steps",
        "minutes",
    ]
    model = f"{mixer} mixer" if mixer else "no mixer"
    body = [
        [
            TITLES.get(name, model),
            *(f"{row['test'][metric]:.4f}" for metric in labels),
            f"{row['ratio']:.2f}x",
            *(f"{row[key]:,}" if key in row else "" for key in ("parameters", "steps")),
            f"{row['seconds'] / 60:.1f}" if "seconds" in row else "",
        ]
        for name, row in results["rows"].items()
    ]
    return aligned(head, body)


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in Markdown whose columns have one width, the first to the left."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([line(head), f"|{rule}|", *map(line, body)])
