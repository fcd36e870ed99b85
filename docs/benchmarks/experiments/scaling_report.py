"""Tables, claims and plot of the cost of operators, from the measurements alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.experiments.report import MISSING, markdown

PASS_LABELS = {
    "forward": "Forward",
    "backward": "Forward and backward",
    "force": "Force training (second derivatives)",
}
OURS = ("query_key", "coordinate")
OPPONENT = "attention"
SHORT_LENGTH, SHORT_ROWS = 20000, (*OURS, "linear_attention", "attention", "cross_product")
FIT_FROM, FIT_TO = 2**14, 2**20


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
        raise ValueError(f"{config['output']!r} holds no measurement to report: measure first")
    places = ("stage", "output", "results", "documents")
    cells = [
        {
            "kind": "together" if cell["config"]["rounds"] else "sweep",
            "irreps": cell["config"]["irreps"],
            "pass": cell["config"]["pass"],
            "length": cell["config"]["lengths"][-1],
            "rows": cell["result"],
        }
        for cell in done.values()
    ]
    return {
        "config": {key: value for key, value in config.items() if key not in places},
        "labels": dict(labels),
        "environment": next(iter(done.values()))["environment"],
        "cells": cells,
    }


def turns(report: dict[str, Any], name: str, length: int) -> dict[str, Any] | None:
    """Rows measured in turns at a length; None if they were not."""
    for cell in report["cells"]:
        if (cell["kind"], cell["pass"], cell["length"]) == ("together", name, length):
            return cell["rows"]
    return None


def sweeps(report: dict[str, Any], irreps: str, name: str) -> dict[str, Any]:
    """What every row reached."""
    return {
        row: result
        for cell in report["cells"]
        if (cell["kind"], cell["irreps"], cell["pass"]) == ("sweep", irreps, name)
        for row, result in cell["rows"].items()
    }


def render(report: dict[str, Any]) -> str:
    """Captions, tables and plot in Markdown, for a page in docs."""
    config, machine = report["config"], report["environment"]
    device = machine.get("device", machine["cpu"])
    caption = (
        f"One operator, float32, {config['threads']} threads, {device}, torch {machine['torch']}. "
        "Time of a pass and, after the comma, the memory that it adds. A row ends where the next "
        f"pass would take more than {config['time_limit']:g} s or {config['memory_limit']:g} GiB; "
        "the last column tells what it would need there. *About*: by the growth over the two "
        "lengths before, which is good to a factor of two. A dash: not measured yet; as an "
        "exponent, too few lengths."
    )
    parts = [caption]
    for length in config["together"]:
        title = f"**In turns at {length:,} tokens**, {config['irreps'][0]} (medians of "
        parts += [f"{title}{config['rounds']} rounds):", _turns_table(report, length)]
    for irreps in config["irreps"]:
        for name in config["passes"]:
            table = _sweep_table(report, irreps, name)
            if table:
                parts += [f"**{PASS_LABELS[name]}**, {irreps}:", table]
    parts.append("![Time and memory against the number of tokens](results/scaling.png)")
    return "\n\n".join(parts)


def _turns_table(report: dict[str, Any], length: int) -> str:
    passes, lines = report["config"]["passes"], []
    for row, label in report["labels"].items():
        entries = [_turn(turns(report, name, length) or {}, row, length) for name in passes]
        lines.append([label, *entries])
    return markdown(["", *(PASS_LABELS[name].lower() for name in passes)], lines)


def _sweep_table(report: dict[str, Any], irreps: str, name: str) -> str | None:
    found = sweeps(report, irreps, name)
    if not found:
        return None
    lengths, lines = report["config"]["lengths"], []
    for row, label in report["labels"].items():
        points = {n: _at(found.get(row), n) for n in lengths}
        entries = [
            f"{_seconds(p['seconds'])}, {_memory(p['mebibytes'])}" if p else ""
            for p in points.values()
        ]
        slope = exponent(found[row]["points"]) if row in found else None
        lines.append(
            [
                label,
                *(entries if row in found else [MISSING] * len(lengths)),
                f"{slope:.2f}" if slope else MISSING,
                (found[row]["stopped"] or "") if row in found else MISSING,
            ]
        )
    vectors = [line for line in lines if line[-1] != MISSING or "paper" not in line[0]]
    return markdown(["", *(f"{n:,}" for n in lengths), "exponent", "next"], vectors)


def _at(result: dict[str, Any] | None, length: int) -> dict[str, float] | None:
    points = result["points"] if result else []
    return next((point for point in points if point["length"] == length), None)


def _ratio(
    rows: Mapping[str, Any], row: str, other: str, length: int, key: str = "seconds"
) -> float | None:
    """A row's cost over another's, at a length that both reached."""
    mine, theirs = _at(rows.get(row), length), _at(rows.get(other), length)
    return mine[key] / theirs[key] if mine and theirs and theirs[key] else None


def exponent(points: list[dict[str, float]]) -> float | None:
    """Slope of log time against log length by least squares, from 16k to 1M tokens.

    Examples
    --------
    >>> exponent([{"length": n, "seconds": n / 1e6} for n in (2**10, 2**14, 2**17, 2**20)])
    1.0
    """
    pairs = [
        (math.log(p["length"]), math.log(p["seconds"]))
        for p in points
        if FIT_FROM <= p["length"] <= FIT_TO
    ]
    if len(pairs) < 2:
        return None
    x_mean = sum(x for x, _ in pairs) / len(pairs)
    y_mean = sum(y for _, y in pairs) / len(pairs)
    covariance = sum((x - x_mean) * (y - y_mean) for x, y in pairs)
    return round(covariance / sum((x - x_mean) ** 2 for x, _ in pairs), 6)


def _reached(report: dict[str, Any], name: str, row: str) -> list[dict[str, float]]:
    """What a row reached with the first irreps, in turns or alone."""
    points = [
        point
        for cell in report["cells"]
        if (cell["irreps"], cell["pass"]) == (report["config"]["irreps"][0], name)
        for point in cell["rows"].get(row, {"points": []})["points"]
    ]
    return sorted(points, key=lambda point: point["length"])


def context(points: list[dict[str, float]], gibibytes: float) -> float:
    """Tokens that fit in so much memory, by the power law between points around or below it.

    Memory grows at least as the number of tokens.

    Examples
    --------
    >>> context([{"length": n, "mebibytes": n / 100} for n in (1000, 4000, 4100)], 1.0)
    102400.0
    """
    wanted = 1024 * gibibytes
    points = [p for p in points if p["mebibytes"] > 1]
    last = next((p for p in points if p["mebibytes"] >= wanted), points[-1] if points else None)
    apart = [p for p in points if last and p["length"] <= last["length"] / 2]
    if not last or not apart:
        return math.nan
    growth = math.log(last["mebibytes"] / apart[-1]["mebibytes"])
    power = max(1.0, growth / math.log(last["length"] / apart[-1]["length"]))
    return round(last["length"] * (wanted / last["mebibytes"]) ** (1 / power), 6)


def crossover(found: Mapping[str, Any], row: str) -> int | None:
    """Least measured length from which on a row is never slower than attention."""
    best = None
    points = {p["length"]: p["seconds"] for p in found[row]["points"]}
    for point in reversed(found[OPPONENT]["points"]):
        if points.get(point["length"], math.inf) > point["seconds"]:
            break
        best = point["length"]
    return best


def render_claims(report: dict[str, Any]) -> str:
    """What follows from the tables, one line per claim."""
    lines = []
    for length in report["config"]["together"]:
        for name in report["config"]["passes"]:
            line = _claim_of_turns(report, name, length)
            if line:
                lines.append(line)
    irreps = report["config"]["irreps"][0]
    for name in report["config"]["passes"]:
        found = sweeps(report, irreps, name)
        for row in OURS:
            if row not in found:
                continue
            slope, limit = exponent(found[row]["points"]), report["config"]["memory_limit"]
            text = f"{PASS_LABELS[name]}, {report['labels'][row]}: "
            last = found[row]["points"][-1]
            if slope:
                end = max(p["length"] for p in found[row]["points"] if p["length"] <= FIT_TO)
                text += f"time grows as N^{slope:.2f} from {FIT_FROM:,} to {end:,} tokens"
            text += (
                f"; {last['length']:,} tokens take {_seconds(last['seconds'])} and "
                f"{_memory(last['mebibytes'])}"
            )
            for other in (OPPONENT, "cross_product_dense"):
                if other in found:
                    mine, theirs = (_reached(report, name, each) for each in (row, other))
                    longer = context(mine, limit) / context(theirs, limit)
                    text += f"; {_times(longer)} the tokens of {report['labels'][other]} "
                    text += f"in {limit:g} GiB"
            if OPPONENT in found:
                start = crossover(found, row)
                if start == min(report["config"]["lengths"]):
                    text += "; ahead of attention at every length measured"
                elif start:
                    text += f"; ahead of attention from {start:,} tokens on"
            lines.append(text)
    return "\n".join(f"- {line}." for line in lines)


def render_short(report: dict[str, Any]) -> str:
    """Time and memory at 20,000 tokens in a few lines, for the README."""
    length, labels = SHORT_LENGTH, report["labels"]
    shown = [row for row in SHORT_ROWS if row in labels]
    lines = []
    for name in report["config"]["passes"]:
        rows = turns(report, name, length) or {}
        entries = [_turn(rows, row, length) for row in shown]
        lines.append([PASS_LABELS[name].lower(), *entries])
    head = [f"{length:,} tokens, {report['config']['irreps'][0]}", *(labels[row] for row in shown)]
    return markdown(head, lines)


def _turn(rows: Mapping[str, Any], row: str, length: int) -> str:
    """Time, memory and, in brackets, time over that of `query_key`; or why there is none."""
    point = _at(rows.get(row), length)
    if not point:
        return rows[row]["stopped"] if row in rows else MISSING
    ratio = _ratio(rows, row, "query_key", length)
    text = f"{_seconds(point['seconds'])}, {_memory(point['mebibytes'])}"
    return text + (f" ({_times(ratio)})" if ratio else "")


def _claim_of_turns(report: dict[str, Any], name: str, length: int) -> str | None:
    rows = turns(report, name, length)
    if not rows or not _at(rows.get("query_key"), length):
        return None
    parts = []
    for row in ("attention", "attention_half", "cross_product", "cross_product_dense"):
        time = _ratio(rows, row, "query_key", length)
        memory = _ratio(rows, row, "query_key", length, "mebibytes")
        if time and memory:
            parts.append(
                f"{report['labels'][row]} {_times(time)} the time, {_times(memory)} the memory"
            )
        elif row in rows:
            parts.append(f"{report['labels'][row]} does not run ({rows[row]['stopped']})")
    return f"{PASS_LABELS[name]} at {length:,} tokens, against `query_key`: {'; '.join(parts)}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x"


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _memory(mebibytes: float) -> str:
    return f"{mebibytes:.3g} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.3g} GiB"


def draw(report: dict[str, Any], figure: Any) -> None:
    """Time (above) and memory (below) of every pass, for the first irreps."""
    config = report["config"]
    figure.set_size_inches(4.6 * len(config["passes"]), 7.4)
    panels = figure.subplots(2, len(config["passes"]), sharex=True, sharey="row", squeeze=False)
    rows = list(report["labels"])
    for column, name in enumerate(config["passes"]):
        for row, result in sweeps(report, config["irreps"][0], name).items():
            place = rows.index(row)
            style = {"color": f"C{place % 10}", "marker": "os^vDPX*<>"[place % 10], "markersize": 4}
            label = report["labels"][row].replace("`", "")
            tokens = [p["length"] for p in result["points"]]
            panels[0][column].plot(
                tokens, [p["seconds"] for p in result["points"]], label=label, **style
            )
            memory = [p["mebibytes"] / 1024 for p in result["points"]]
            panels[1][column].plot(tokens, memory, label=label, **style)
        panels[0][column].set(title=PASS_LABELS[name], xscale="log", yscale="log")
        panels[1][column].set(xlabel="tokens", xscale="log", yscale="log")
    panels[0][0].set(ylabel="seconds")
    panels[1][0].set(ylabel="GiB added")
    for axes in panels.flat:
        axes.grid(alpha=0.25)
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize="small")
