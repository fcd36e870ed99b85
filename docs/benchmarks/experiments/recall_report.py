"""Tables and plot of associative recall, from the results alone."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from benchmarks.experiments.report import MISSING, count_seeds, markdown, spread

# Mean square errors that Moskalev et al. (2024) plot, by length.
PAPER = {
    "random": {
        "SE(3)-Hyena, published": [0.271, 0.0069, 0.0019, 0.0022],
        "its attention, published": [1.38, 1.74, 1.74, 1.52],
    },
    "fixed": {
        "SE(3)-Hyena, published": [0.0518, 0.0381, 0.0198, 0.0296],
        "its attention, published": [0.0124, 0.0138, 0.0183, 0.0164],
    },
}
PAPER_LENGTHS = [32, 64, 128, 256]
NOTHING = "Not measured yet."
TWICE = "twice the steps"  # a variant
KEYS = ("row", "variant", "kind", "length", "vocabulary", "degree", "seed")


def collect(
    config: dict[str, Any], labels: Mapping[str, str], done: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Everything that is reported, as one dictionary for JSON.

    Parameters
    ----------
    config : dict
        Options of the experiment.
    labels : mapping of str to str
        Name of every row in the tables.
    done : dict
        As `read_cells` returns it.
    """
    if not done:
        raise ValueError(f"{config['output']!r} holds no finished training to report: train first")
    places = ("stage", "output", "results", "documents", "jobs")
    return {
        "config": {key: value for key, value in config.items() if key not in places},
        "labels": dict(labels),
        "published": {"lengths": PAPER_LENGTHS, **PAPER},
        "environment": next(iter(done.values()))["environment"],
        "cells": [
            {**{key: cell["config"][key] for key in KEYS}, **cell["result"]}
            for cell in done.values()
        ],
    }


def select(report: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    """Cells with these values; as in the paper's tables if no variant is asked for."""
    wanted = {"variant": None, **wanted}
    return [
        cell for cell in report["cells"] if all(cell[key] == value for key, value in wanted.items())
    ]


def render(report: dict[str, Any]) -> str:
    """Captions, tables and plot in Markdown, for a page in docs."""
    config = report["config"]
    pooled = "the mean of all tokens" if config["pool"] == "mean" else "the last token"
    own_lr = f" (LGATr-slim {config['lgatr_lr']:g})" if "lgatr" in report["labels"] else ""
    caption = (
        f"Mean square error of the test, mean ± standard deviation over {count_seeds(report)}. "
        f"{config['irreps']}, {config['num_blocks']} blocks, short convolutions of "
        f"{config['short_conv']}, {config['steps']:,} steps of {config['tokens_per_step']:,} "
        f"tokens, learning rate {config['lr']:g}{own_lr}; the answer is read from {pooled}. One "
        f"thread, {report['environment']['cpu']}, torch {report['environment']['torch']}. "
        "Minutes are processor time of a training. A dash: not measured yet."
    )
    plot = "![Error against length, vocabulary and tested length](results/recall.png)"
    parts = [caption]
    for kind, title in (
        ("random", "**Random vocabularies** of 4 pairs, by length:"),
        ("fixed", "**One fixed vocabulary** of 4 pairs, by length:"),
    ):
        parts += [title, _paper_table(report, kind)]
    parts += [
        f"**Twice the steps**, random, length {max(config['lengths'])}:",
        _twice_table(report),
    ]
    parts += [
        "**Longer sequences**, random vocabularies of 4 pairs: one network for all lengths, which "
        "trains on one of them at every step, by length of the test:"
    ]
    parts += [_by_length_table(report, config["long_lengths"], variant="long")]
    parts += ["**Larger vocabularies**, random, relative to predicting zero, by vocabulary:"]
    parts += [_extension_table(report, "vocabulary", config["vocabularies"], relative=True)]
    parts += ["**Tensors** (`2e`), random vocabularies of 4 pairs, by length:"]
    parts += [_extension_table(report, "length", config["tensor_lengths"], vocabulary=4, degree=2)]
    parts += [f"**Trained at length {config['trained_length']}**, tested at:"]
    trained = {"length": config["trained_length"], "vocabulary": 4, "degree": 1}
    parts += [_by_length_table(report, config["tested_lengths"], kind="random", **trained)]
    parts += [
        f"**One change at a time**, length {config['ablation_length']}, "
        f"{config['ablation_steps']:,} steps:",
        _ablation_table(report),
        plot,
    ]
    return "\n\n".join(parts)


def _paper_table(report: dict[str, Any], kind: str) -> str:
    if not select(report, kind=kind, vocabulary=4, degree=1):
        return NOTHING
    lengths = report["config"]["lengths"]
    lines = []
    for row in report["config"]["rows"]:
        cells = {n: _of(report, row, kind=kind, length=n) for n in lengths}
        found = [cell for some in cells.values() for cell in some]
        lines.append(
            [
                report["labels"][row],
                *(spread((cell["mse"] for cell in cells[n]), 5) for n in lengths),
                f"{found[0]['parameters']:,}" if found else MISSING,
                f"{mean(cell['seconds'] for cell in found) / 60:.1f}" if found else MISSING,
            ]
        )
    published = report["published"]
    for label, errors in published[kind].items():
        by_length = dict(zip(published["lengths"], errors, strict=True))
        figures = [f"{by_length[n]:g}" if n in by_length else MISSING for n in lengths]
        lines.append([label, *figures, "", ""])
    zero = [_zero(report, kind, n) for n in lengths]
    lines.append(["predicting zero", *zero, "", ""])
    return markdown(["", *map(str, lengths), "parameters", "minutes"], lines)


def _of(report: dict[str, Any], row: str, **wanted: Any) -> list[dict[str, Any]]:
    return select(report, row=row, **{"vocabulary": 4, "degree": 1, **wanted})


def _zero(report: dict[str, Any], kind: str, length: int) -> str:
    cells = select(report, kind=kind, length=length, vocabulary=4, degree=1)
    return f"{cells[0]['zero']:.2f}" if cells else MISSING


def _extension_table(
    report: dict[str, Any], by: str, values: list[int], relative: bool = False, **fixed: Any
) -> str:
    lines, found = [], False
    for row in report["config"]["extension_rows"]:
        entries = []
        for value in values:
            cells = select(report, row=row, kind="random", **{"degree": 1, **fixed, by: value})
            errors = [cell["mse"] / (cell["zero"] if relative else 1) for cell in cells]
            found = found or bool(errors)
            entries.append(spread(errors, 5))
        lines.append([report["labels"][row], *entries])
    return markdown(["", *map(str, values)], lines) if found else NOTHING


def _twice_table(report: dict[str, Any]) -> str:
    length, steps = max(report["config"]["lengths"]), report["config"]["steps"]
    lines = []
    for row in report["config"]["ablation_rows"]:
        cells = [_of(report, row, kind="random", length=length, variant=v) for v in (None, TWICE)]
        if cells[1]:
            entries = [spread((cell["mse"] for cell in some), 5) for some in cells]
            lines.append([report["labels"][row], *entries])
    head = ["", f"{steps:,} steps", f"{2 * steps:,} steps"]
    return markdown(head, lines) if lines else NOTHING


def _by_length_table(report: dict[str, Any], lengths: list[int], **wanted: Any) -> str:
    lines = []
    for row, label in report["labels"].items():
        cells = select(report, row=row, **wanted)
        if cells:
            lines.append(
                [label, *(spread((c["by_length"][str(n)] for c in cells), 5) for n in lengths)]
            )
    return markdown(["", *map(str, lengths)], lines) if lines else NOTHING


def _ablation_table(report: dict[str, Any]) -> str:
    variants = {
        cell["variant"]: None
        for cell in report["cells"]
        if cell["variant"] not in (None, "long", TWICE)
    }
    rows = report["config"]["ablation_rows"]
    lines = [
        [
            variant,
            *(
                spread((c["mse"] for c in select(report, row=row, variant=variant)), 4)
                for row in rows
            ),
        ]
        for variant in variants
    ]
    return markdown(["", *(report["labels"][row] for row in rows)], lines) if lines else NOTHING


def draw(report: dict[str, Any], figure: Any) -> None:
    """Error against length, against vocabulary, and at other lengths than the trained one."""
    config = report["config"]
    figure.set_size_inches(14.5, 4.6)
    by_length, by_vocabulary, tested = figure.subplots(1, 3)
    vocabularies = sorted({*config["vocabularies"]})
    for place, (row, label) in enumerate(report["labels"].items()):
        style = {"color": f"C{place % 10}", "marker": "os^vDPX*<>"[place % 10], "markersize": 4}
        at = {
            n: [c["mse"] for c in _of(report, row, kind="random", length=n)]
            for n in config["lengths"]
        }
        _line(by_length, at, label, style)
        longer = select(report, row=row, variant="long")
        beyond = {n: [c["by_length"][str(n)] for c in longer] for n in config["long_lengths"]}
        _line(by_length, beyond, "", {**style, "linestyle": "--", "alpha": 0.6})
        of = {v: select(report, row=row, kind="random", vocabulary=v) for v in vocabularies}
        ratios = {v: [c["mse"] / c["zero"] for c in cells] for v, cells in of.items()}
        _line(by_vocabulary, ratios, label, style)
        cells = _of(report, row, kind="random", length=config["trained_length"])
        points = {n: [c["by_length"][str(n)] for c in cells] for n in config["tested_lengths"]}
        points[config["trained_length"]] = [c["mse"] for c in cells]
        _line(tested, dict(sorted(points.items())), label, style)
    published = report["published"]
    for line, (label, errors) in zip(("--", ":"), published["random"].items(), strict=True):
        by_length.plot(published["lengths"], errors, line, color="black", label=label)
    by_length.set(
        xlabel="length (dashed: one network for all)",
        ylabel="mean square error, random vocabularies",
    )
    by_vocabulary.set(xlabel="vocabulary", ylabel="error relative to predicting zero")
    tested.set(xlabel=f"tested length, trained at {config['trained_length']}")
    for axes in (by_length, by_vocabulary, tested):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        if axes.lines:
            axes.set_yscale("log")
        axes.grid(alpha=0.25)
    handles, names = by_length.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize="small")


def _line(
    axes: Any, points: Mapping[int, list[float]], label: str, style: Mapping[str, Any]
) -> None:
    """Means over the seeds, where there are any."""
    held = {x: mean(values) for x, values in points.items() if values}
    if held:
        axes.plot(list(held), list(held.values()), label=label.replace("`", ""), **style)
