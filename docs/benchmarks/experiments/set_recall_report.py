"""Table and plot of set recall, from the results alone."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from benchmarks.experiments.report import MISSING, count_seeds, markdown, spread
from benchmarks.harness.rows import Row

BROKEN = 0.5  # error from which on a mixer no longer recalls; predicting zero has 1
OPPONENT = "attention"
REFERENCE = 16  # vocabulary at which errors are compared with attention's


def collect(
    config: dict[str, Any], rows: Mapping[str, Row], done: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Everything that is reported, as one dictionary for JSON.

    Parameters
    ----------
    config : dict
        Options of the experiment.
    rows : mapping of str to Row
    done : dict
        As `read_cells` returns it.
    """
    if not done:
        raise ValueError(f"{config['output']!r} holds no finished training to report: train first")
    keys = ("row", "vocabulary", "num_tokens", "seed")
    places = ("stage", "output", "results", "documents", "jobs")
    return {
        "config": {key: value for key, value in config.items() if key not in places},
        "labels": {name: row.label for name, row in rows.items()},
        "modes": {name: row.options["modes"] for name, row in rows.items() if _is_plain(row)},
        "environment": next(iter(done.values()))["environment"],
        "cells": [
            {**{key: cell["config"][key] for key in keys}, **cell["result"]}
            for cell in done.values()
        ],
    }


def _is_plain(row: Row) -> bool:
    """Whether the row differs from others in the number of modes alone."""
    return row.mixer == "coordinate" and row.options.keys() == {"modes"}


def _cells(report: dict[str, Any], row: str, vocabulary: int) -> list[dict[str, Any]]:
    return [c for c in report["cells"] if (c["row"], c["vocabulary"]) == (row, vocabulary)]


def _errors(report: dict[str, Any], row: str, vocabulary: int) -> list[float]:
    return [cell["error"] for cell in _cells(report, row, vocabulary)]


def render(report: dict[str, Any]) -> str:
    """Caption, table and plot in Markdown, for a page in docs."""
    config = report["config"]
    vocabularies = config["vocabularies"]
    head = [
        "mixer",
        *(f"V = {vocabulary}" for vocabulary in vocabularies),
        f"relative to attention, V = {REFERENCE}",
        "breaks at V",
        "parameters",
    ]
    lines = []
    for row, label in report["labels"].items():
        parameters = {c["parameters"] for v in vocabularies for c in _cells(report, row, v)}
        lines.append(
            [
                label,
                *(spread(_errors(report, row, v), 3) for v in vocabularies),
                _relative(report, row),
                _breaks(report, row),
                f"{max(parameters):,}" if parameters else MISSING,
            ]
        )
    caption = (
        "Mean square error at the queries relative to predicting zero, mean ± standard deviation "
        f"over {count_seeds(report)}. {config['irreps']}, {config['num_blocks']} blocks, "
        f"{config['steps']:,} steps of {config['tokens_per_step']:,} tokens. "
        f"A mixer breaks at the first vocabulary with an error above {BROKEN}."
    )
    plot = "![Error against vocabulary, modes and tokens](results/recall_set.png)"
    return "\n\n".join([caption, markdown(head, lines), plot])


def _relative(report: dict[str, Any], row: str) -> str:
    mine = _errors(report, row, REFERENCE)
    theirs = _errors(report, OPPONENT, REFERENCE)
    return f"{mean(mine) / mean(theirs):.2f}x" if mine and theirs else MISSING


def _breaks(report: dict[str, Any], row: str) -> str:
    for vocabulary in sorted(report["config"]["vocabularies"]):
        errors = _errors(report, row, vocabulary)
        if not errors:
            return MISSING
        if mean(errors) > BROKEN:
            return str(vocabulary)
    return f"> {max(report['config']['vocabularies'])}"


def draw(report: dict[str, Any], figure: Any) -> None:
    """Error against vocabulary, against the number of modes, and against the size of the sets."""
    config = report["config"]
    figure.set_size_inches(14.5, 4.6)
    by_vocabulary, by_modes, by_length = figure.subplots(1, 3, sharey=True)
    styles = {row: _style(report, row, place) for place, row in enumerate(report["labels"])}
    for row, label in report["labels"].items():
        points = {v: _errors(report, row, v) for v in config["vocabularies"]}
        _line(by_vocabulary, points, label=label.replace("`", ""), **styles[row])
        cells = _cells(report, row, config["length_vocabulary"])
        lengths = {n: [c["by_length"][str(n)] for c in cells] for n in config["lengths"]}
        _line(by_length, lengths, **styles[row])
    for vocabulary in config["vocabularies"]:
        points = {m: _errors(report, row, vocabulary) for row, m in report["modes"].items()}
        _line(by_modes, points, label=f"V = {vocabulary}", marker="o")
    by_vocabulary.set(xlabel="vocabulary V", ylabel="error at queries (predicting zero: 1)")
    by_modes.set(xlabel="modes M of coordinate")
    by_length.set(xlabel=f"tokens per set in the test, V = {config['length_vocabulary']}")
    for axes in (by_vocabulary, by_modes, by_length):
        axes.set(yscale="log")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.axhline(BROKEN, color="gray", linestyle=":", linewidth=1)
        axes.grid(alpha=0.25)
    figure.legend(
        *by_vocabulary.get_legend_handles_labels(), loc="outside right upper", fontsize="small"
    )
    if report["modes"]:
        by_modes.legend(fontsize="small")


def _style(report: dict[str, Any], row: str, place: int) -> dict[str, Any]:
    dashed = row not in report["modes"]
    return {
        "color": f"C{place % 10}",
        "linestyle": "--" if dashed else "-",
        "marker": "os^vDPX*<>"[place % 10],
        "markersize": 4,
    }


def _line(axes: Any, points: Mapping[int, list[float]], **style: Any) -> None:
    """Means over the seeds; least and most as a thin bar."""
    held = {x: values for x, values in sorted(points.items()) if values}
    means = [mean(values) for values in held.values()]
    least = [min(values) for values in held.values()]
    most = [max(values) for values in held.values()]
    bars = [  # never negative, not even by rounding
        [max(0.0, middle - low) for middle, low in zip(means, least, strict=True)],
        [max(0.0, high - middle) for middle, high in zip(means, most, strict=True)],
    ]
    axes.errorbar(list(held), means, bars, linewidth=1.2, elinewidth=0.8, **style)
