"""Tables, claims and plot of the cost of operators, from the measurements alone."""

import math
from collections.abc import Iterable, Mapping
from statistics import linear_regression
from typing import Any

from benchmarks.harness import MISSING, finish, plain, select, style, table
from benchmarks.operators import crossover

PASS_LABELS = {
    "forward": "Forward",
    "backward": "Forward and backward",
    "force": "Force training (second derivatives)",
}
OURS = ("query_key", "coordinate")
OPPONENT = "attention"
SHORT_LENGTH, SHORT_ROWS = 20000, (*OURS, "linear_attention", "attention", "cross_product")
FIT_FROM, FIT_TO = 2**14, 2**20
Point = dict[str, float]


def turns(report: dict[str, Any], name: str, length: int) -> dict[str, Any]:
    """Rows measured in turns at a length; none if they were not."""
    cells = select(report, kind="together", length=length, **{"pass": name})
    return cells[0]["rows"] if cells else {}


def sweeps(report: dict[str, Any], irreps: str, name: str) -> dict[str, Any]:
    """What every row reached."""
    cells = select(report, kind="sweep", irreps=irreps, **{"pass": name})
    return {row: result for cell in cells for row, result in cell["rows"].items()}


def render(report: dict[str, Any]) -> str:
    """Captions, tables and plot in Markdown, for a page in docs."""
    config, machine, labels = report["config"], report["environment"], report["labels"]
    device = machine.get("device", machine["cpu"])
    parts = [
        f"One operator, float32, {config['threads']} threads, {device}, torch {machine['torch']}. "
        "Time of a pass and, after the comma, the memory that it adds. A row ends where the next "
        f"pass would take more than {config['time_limit']:g} s or {config['memory_limit']:g} GiB; "
        "the last column tells what it would need there. *About*: by the growth over the two "
        "lengths before, which is good to a factor of two. A dash: not measured yet; as an "
        "exponent, too few lengths."
    ]
    for length in config["together"]:
        title = f"**In turns at {length:,} tokens**, {config['irreps'][0]} (medians of "
        lines = zip(labels.values(), *_turns(report, length, labels), strict=True)
        head = ["", *(PASS_LABELS[name].lower() for name in config["passes"])]
        parts += [f"{title}{config['rounds']} rounds):", table(head, lines)]
    for irreps in config["irreps"]:
        for name in config["passes"]:
            found = sweeps(report, irreps, name)
            if found:
                parts.append(f"**{PASS_LABELS[name]}**, {irreps}:")
                parts.append(_sweep_table(config["lengths"], labels, found))
    parts.append("![Time and memory against the number of tokens](results/scaling.png)")
    return "\n\n".join(parts)


def _turns(report: dict[str, Any], length: int, rows: Iterable[str]) -> list[list[str]]:
    """For every pass, the entry of every row."""
    passes = [turns(report, name, length) for name in report["config"]["passes"]]
    return [[_turn(found, row, length) for row in rows] for found in passes]


def _sweep_table(lengths: list[int], labels: dict[str, str], found: dict[str, Any]) -> str:
    lines = []
    for row, label in labels.items():
        if row in found:
            points = [_at(found[row], n) for n in lengths]
            slope = exponent(found[row]["points"])
            end = [f"{slope:.2f}" if slope else MISSING, found[row]["stopped"] or ""]
            lines.append([label, *(_cost(point) if point else "" for point in points), *end])
        elif "paper" not in label:
            lines.append([label, *[MISSING] * (len(lengths) + 2)])
    return table(["", *(f"{n:,}" for n in lengths), "exponent", "next"], lines)


def _at(result: dict[str, Any] | None, length: int) -> Point | None:
    points = result["points"] if result else []
    return next((point for point in points if point["length"] == length), None)


def _ratio(rows: Mapping[str, Any], row: str, length: int, key: str = "seconds") -> float | None:
    """A row's cost over that of `query_key`, at a length that both reached."""
    mine, theirs = _at(rows.get(row), length), _at(rows.get("query_key"), length)
    return mine[key] / theirs[key] if mine and theirs and theirs[key] else None


def exponent(points: list[Point]) -> float | None:
    """Slope of log time against log length by least squares, from 16k to 1M tokens."""
    fitted = [p for p in points if FIT_FROM <= p["length"] <= FIT_TO]
    if len(fitted) < 2:
        return None
    lengths, seconds = ([math.log(p[key]) for p in fitted] for key in ("length", "seconds"))
    return round(linear_regression(lengths, seconds).slope, 6)


def context(points: list[Point], gibibytes: float) -> float:
    """Tokens that fit in so much memory, by the power law between points around or below it.

    Memory grows at least as the number of tokens.
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


def render_claims(report: dict[str, Any]) -> str:
    """What follows from the tables, one line per claim."""
    config = report["config"]
    lines = [
        _claim_of_turns(report, name, length)
        for length in config["together"]
        for name in config["passes"]
    ]
    lines += [_claim_of_sweep(report, name, row) for name in config["passes"] for row in OURS]
    return "\n".join(f"- {line}." for line in lines if line)


def _claim_of_turns(report: dict[str, Any], name: str, length: int) -> str | None:
    rows = turns(report, name, length)
    if not _at(rows.get("query_key"), length):
        return None
    parts = []
    for row in ("attention", "attention_half", "cross_product", "cross_product_dense"):
        time, memory = (_ratio(rows, row, length, key) for key in ("seconds", "mebibytes"))
        if time and memory:
            parts.append(
                f"{report['labels'][row]} {_times(time)} the time, {_times(memory)} the memory"
            )
        elif row in rows:
            parts.append(f"{report['labels'][row]} does not run ({rows[row]['stopped']})")
    return f"{PASS_LABELS[name]} at {length:,} tokens, against `query_key`: {'; '.join(parts)}"


def _claim_of_sweep(report: dict[str, Any], name: str, row: str) -> str | None:
    config, labels = report["config"], report["labels"]
    found = sweeps(report, config["irreps"][0], name)
    if row not in found:
        return None
    points, limit = found[row]["points"], config["memory_limit"]
    slope, growth = exponent(points), ""
    if slope:
        end = max(p["length"] for p in points if p["length"] <= FIT_TO)
        growth = f"time grows as N^{slope:.2f} from {FIT_FROM:,} to {end:,} tokens"
    parts = [growth, f"{points[-1]['length']:,} tokens take {_cost(points[-1], ' and ')}"]
    for other in (OPPONENT, "cross_product_dense"):
        if other in found:
            mine, theirs = (context(_reached(report, name, each), limit) for each in (row, other))
            parts.append(f"{_times(mine / theirs)} the tokens of {labels[other]} in {limit:g} GiB")
    if OPPONENT in found:
        times = ({p["length"]: p["seconds"] for p in found[r]["points"]} for r in (row, OPPONENT))
        start = crossover(*times)
        if start == min(config["lengths"]):
            parts.append("ahead of attention at every length measured")
        elif start:
            parts.append(f"ahead of attention from {start:,} tokens on")
    return f"{PASS_LABELS[name]}, {labels[row]}: {'; '.join(parts)}"


def _reached(report: dict[str, Any], name: str, row: str) -> list[Point]:
    """What a row reached with the first irreps, in turns or alone."""
    cells = select(report, irreps=report["config"]["irreps"][0], **{"pass": name})
    results = [cell["rows"][row] for cell in cells if row in cell["rows"]]
    points = [point for result in results for point in result["points"]]
    return sorted(points, key=lambda point: point["length"])


def render_short(report: dict[str, Any]) -> str:
    """Time and memory at 20,000 tokens in a few lines, for the README."""
    labels = {row: report["labels"][row] for row in SHORT_ROWS if row in report["labels"]}
    passes = [PASS_LABELS[name].lower() for name in report["config"]["passes"]]
    entries = _turns(report, SHORT_LENGTH, labels)
    head = [f"{SHORT_LENGTH:,} tokens, {report['config']['irreps'][0]}", *labels.values()]
    return table(head, [[name, *line] for name, line in zip(passes, entries, strict=True)])


def _turn(rows: Mapping[str, Any], row: str, length: int) -> str:
    """Time, memory and, in brackets, time over that of `query_key`; or why there is none."""
    point = _at(rows.get(row), length)
    if not point:
        return rows[row]["stopped"] if row in rows else MISSING
    ratio = _ratio(rows, row, length)
    return _cost(point) + (f" ({_times(ratio)})" if ratio else "")


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x"


def _cost(point: Point, between: str = ", ") -> str:
    seconds, mebibytes = point["seconds"], point["mebibytes"]
    time = f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
    memory = f"{mebibytes:.3g} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.3g} GiB"
    return time + between + memory


def draw(report: dict[str, Any], figure: Any) -> None:
    """Time (above) and memory (below) of every pass, for the first irreps."""
    config, rows = report["config"], list(report["labels"])
    figure.set_size_inches(4.6 * len(config["passes"]), 7.4)
    panels = figure.subplots(2, len(config["passes"]), sharex=True, sharey="row", squeeze=False)
    for name, above, below in zip(config["passes"], *panels, strict=True):
        for row, result in sweeps(report, config["irreps"][0], name).items():
            look = {**style(rows.index(row)), "label": plain(report["labels"][row])}
            tokens, points = [p["length"] for p in result["points"]], result["points"]
            above.plot(tokens, [p["seconds"] for p in points], **look)
            below.plot(tokens, [p["mebibytes"] / 1024 for p in points], **look)
        above.set(title=PASS_LABELS[name])
        below.set(xlabel="tokens")
    panels[0][0].set(ylabel="seconds")
    panels[1][0].set(ylabel="GiB added")
    finish(figure, panels.flat, base=10)
