"""Learning curve and parity plot as PNG."""

from pathlib import Path
from typing import Any

from e3hyena._extras import require
from e3hyena.data.targets import Target
from e3hyena.training.evaluate import Panel
from e3hyena.training.files import atomic_path
from e3hyena.training.tasks import metric_labels


def _figure(columns: int) -> Any:
    # A figure of its own: no window system, no global state of pyplot.
    figure = require("matplotlib.figure", "train").Figure
    return figure(figsize=(4.5 * columns, 4.0), layout="constrained", dpi=150)


def plot_learning_curve(
    path: Path, task: Target, histories: dict[str, list[dict[str, float]]], baseline: float
) -> None:
    """Draw the validation error (solid) and the training error (dotted) after every epoch."""
    name, label = next(iter(metric_labels(task).items()))
    figure = _figure(1)
    axes = figure.subplots()
    for title, rows in histories.items():
        epochs = [row["epoch"] for row in rows]
        (line,) = axes.plot(epochs, [row[f"val_{name}"] for row in rows], label=title)
        training = [row["train_metric"] for row in rows]
        axes.plot(epochs, training, ":", color=line.get_color(), linewidth=1)
    axes.axhline(baseline, color="gray", linestyle="--", label="mean predictor")
    axes.set(xlabel="epoch", ylabel=label, yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(title="validation (dotted: training)", fontsize="small", title_fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def plot_parity(path: Path, panels: list[Panel]) -> None:
    """Draw predictions against labels of the test set."""
    figure = _figure(len(panels))
    for axes, (title, unit, label, predicted) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        x, y = label.flatten(), predicted.flatten()
        ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
        axes.plot(ends, ends, color="gray", linewidth=1)
        axes.scatter(x.tolist(), y.tolist(), s=3, alpha=0.3, linewidths=0, rasterized=True)
        axes.set(title=title, xlabel=f"label ({unit})", ylabel=f"predicted ({unit})")
        axes.set_aspect("equal")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
