"""Tables and plot of the comparison on molecules, from the results alone."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.experiments.report import MISSING, count_seeds, markdown, spread
from e3hyena.training.files import read_json
from e3hyena.training.tasks import get_task, metric_labels

SHORT = ("local", "query_key", "coordinate", "attention_gated", "linear_attention_gated")


def collect(
    config: dict[str, Any],
    labels: dict[str, str],
    done: dict[str, dict[str, Any]],
    timing: Path,
) -> dict[str, Any]:
    """Everything that is reported, as one dictionary for JSON.

    Parameters
    ----------
    config : dict
        Options of the experiment.
    labels : dict of str to str
        What the tables call each row.
    done : dict
        As `read_cells` returns it.
    timing : Path
        File of the timing stage, if it exists.
    """
    if not done:
        raise ValueError(f"{config['output']!r} holds no finished training to report: train first")
    cells = [
        {
            "row": cell["config"]["row"],
            "target": cell["config"]["task"],
            "size": cell["config"]["data"]["train_size"],
            "seed": cell["config"]["seed"],
            **cell["result"],
        }
        for cell in done.values()
    ]
    places = ("stage", "output", "results", "documents", "jobs")
    return {
        "config": {key: value for key, value in config.items() if key not in places},
        "labels": labels,
        "environment": next(iter(done.values()))["environment"],
        "cells": cells,
        "timing": read_json(timing) if timing.exists() else None,
    }


def metric_of(target: str) -> str:
    """The reported metric: the last one, which for a vector counts its direction too."""
    return list(metric_labels(get_task(target)))[-1]


def _errors(report: dict[str, Any], row: str, target: str, size: int) -> list[float]:
    """One test error per seed."""
    return [cell["test"][metric_of(target)] for cell in _cells(report, row, target, size)]


def _cells(report: dict[str, Any], row: str, target: str, size: int) -> list[dict[str, Any]]:
    wanted = (row, target, size)
    return [c for c in report["cells"] if (c["row"], c["target"], c["size"]) == wanted]


def render(report: dict[str, Any]) -> str:
    """Caption, whole table and plot in Markdown, for a page in docs.

    Permutation errors and parameters are those of the first target and the largest train size.
    """
    config = report["config"]
    targets, sizes = config["targets"], config["train_sizes"]
    first, largest = targets[0], max(sizes)
    head = [
        "network",
        *(f"{_title(target)}, {size:,}" for target in targets for size in sizes),
        *(f"re-listed, {_title(target)}" for target in targets),
        f"re-listed, relative ({first})",
        f"parameters ({first})",
        "time per step",
        "MiB per step",
    ]
    lines = []
    for row, label in report["labels"].items():
        line = [label]
        for target in targets:
            line += [spread(_errors(report, row, target, size)) for size in sizes]
        line += [_change(report, row, target, largest, "permutation_error") for target in targets]
        line.append(_change(report, row, first, largest, "relative_permutation_error"))
        parameters = [cell["parameters"] for cell in _cells(report, row, first, largest)]
        line.append(f"{parameters[0]:,}" if parameters else MISSING)
        lines.append([*line, *_cost(report, row)])
    guess = ["mean predictor"]
    for target in targets:
        for size in sizes:
            same = [c for c in report["cells"] if (c["target"], c["size"]) == (target, size)]
            values = [cell["mean_predictor"][metric_of(target)] for cell in same[:1]]
            guess.append(spread(values))
    lines.append([*guess, *[""] * (len(head) - len(guess))])
    plot = "![Test error of every network](results/molecules.png)"
    return "\n\n".join([_caption(report), markdown(head, lines), plot])


def _title(target: str) -> str:
    return f"{target} ({get_task(target).unit})"


def _caption(report: dict[str, Any]) -> str:
    config = report["config"]
    errors = "; ".join(
        metric_labels(get_task(target))[metric_of(target)] for target in config["targets"]
    )
    sizes = " and ".join(f"{size:,}" for size in config["train_sizes"])
    return (
        f"Test errors ({errors}) on {config['test_size']:,} molecules after training on {sizes}, "
        f"mean ± standard deviation over {count_seeds(report)}. {config['irreps_hidden']}, "
        f"{config['num_layers']} layers, cutoff {config['cutoff']} Å, {_steps(config)} steps of "
        f"{config['batch_size']} molecules. Re-listed: mean change of a prediction when the atoms "
        f"are listed in another order. Time per step relative to the local network, one thread, "
        f"{report['environment']['cpu']}; MiB that a step adds at its peak."
    )


def _steps(config: dict[str, Any]) -> str:
    counts = [
        f"{epochs * -(-size // config['batch_size']):,}"
        for size, epochs in zip(config["train_sizes"], config["epochs"], strict=True)
    ]
    return " and ".join(counts)


def _change(report: dict[str, Any], row: str, target: str, size: int, key: str) -> str:
    values = [cell[key] for cell in _cells(report, row, target, size)]
    return f"{mean(values):.1e}" if values else MISSING


def _cost(report: dict[str, Any], row: str) -> list[str]:
    """Time relative to the first row, and memory."""
    timing = report["timing"]
    if timing is None or row not in timing["milliseconds"]:
        return [MISSING, MISSING]
    times = {name: value["median"] for name, value in timing["milliseconds"].items()}
    base = times.get("local", next(iter(times.values())))
    return [f"{times[row] / base:.2f}x", f"{timing['mebibytes'][row]:.0f}"]


def render_short(report: dict[str, Any]) -> str:
    """The README's table: five networks, the largest train size."""
    config = report["config"]
    largest = max(config["train_sizes"])
    head = [
        f"{largest:,} training molecules, {count_seeds(report)}",
        *(_title(target) for target in config["targets"]),
        "changed by re-listing",
        "time per step",
    ]
    lines = [
        [
            report["labels"][row],
            *(spread(_errors(report, row, target, largest)) for target in config["targets"]),
            _change(report, row, config["targets"][0], largest, "relative_permutation_error"),
            _cost(report, row)[0],
        ]
        for row in SHORT
        if row in report["labels"]
    ]
    return markdown(head, lines)


def draw(report: dict[str, Any], figure: Any) -> None:
    """One panel per target: error of every row, with its spread over the seeds."""
    config = report["config"]
    names = [label.replace("`", "") for label in report["labels"].values()]
    figure.set_size_inches(4.2 * len(config["targets"]) + 2.2, 0.36 * len(names) + 1.4)
    panels = figure.subplots(1, len(config["targets"]), squeeze=False, sharey=True)[0]
    for axes, target in zip(panels, config["targets"], strict=True):
        for size in config["train_sizes"]:
            points = [
                (place, error)
                for place, row in enumerate(report["labels"])
                for error in _errors(report, row, target, size)
            ]
            places, errors = zip(*points, strict=True) if points else ((), ())
            (dots,) = axes.plot(errors, places, ".", alpha=0.45)
            means = [_errors(report, row, target, size) for row in report["labels"]]
            axes.plot(
                [mean(values) if values else float("nan") for values in means],
                range(len(means)),
                "|",
                markersize=13,
                markeredgewidth=2,
                color=dots.get_color(),
                label=f"{size:,} training molecules",
            )
        axes.set(xlabel=metric_labels(get_task(target))[metric_of(target)], xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.grid(axis="x", which="both", alpha=0.25)
        axes.set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
    )
