"""From cells to the entries of a table, and the table in Markdown."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from statistics import mean, stdev
from typing import Any

MISSING = "–"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    titles = list(head)
    lines = [f"| {' | '.join(cells)} |" for cells in (titles, *rows)]
    return "\n".join([lines[0], "|---" * len(titles) + "|", *lines[1:]])


def flatten(cells: Iterable[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """Some of what the cells were, and all that came out."""
    return [{**{key: cell["config"][key] for key in keys}, **cell["result"]} for cell in cells]


def select(report: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    """The report's cells with these values."""
    return [c for c in report["cells"] if all(c[key] == value for key, value in wanted.items())]


def spread(values: Iterable[float], digits: int = 4) -> str:
    """Mean and standard deviation; the value alone if there is one, a dash if there is none."""
    numbers = list(values)
    if not numbers:
        return MISSING
    text = f"{mean(numbers):.{digits}f}"
    return text if len(numbers) == 1 else f"{text} ± {stdev(numbers):.{digits}f}"


def grid(
    rows: Mapping[Any, str],
    columns: Iterable[Any],
    values: Callable[[Any, Any], Iterable[float]],
    digits: int = 5,
) -> list[list[str]]:
    """Lines of a table: a label, and in every column mean and deviation over the seeds."""
    return [
        [label, *(spread(values(row, column), digits) for column in columns)]
        for row, label in rows.items()
    ]


def parameters(cells: list[dict[str, Any]]) -> str:
    """Number of parameters, the same in all cells."""
    return f"{cells[0]['parameters']:,}" if cells else MISSING


def minutes(cells: list[dict[str, Any]]) -> str:
    """Mean time of a training.

    Examples
    --------
    >>> minutes([{"seconds": 30}, {"seconds": 60}])
    '0.8'
    """
    return f"{mean(cell['seconds'] for cell in cells) / 60:.1f}" if cells else MISSING


def count_seeds(report: dict[str, Any], *keys: str) -> str:
    """How many seeds the entries of a table have: fewer, where a study was stopped early.

    Examples
    --------
    >>> cells = [{"row": "a", "seed": 0}, {"row": "a", "seed": 1}, {"row": "b", "seed": 0}]
    >>> count_seeds({"cells": cells}, "row"), count_seeds({"cells": cells[:2]}, "row")
    ('1 to 2 seeds', '2 seeds')
    """
    counts = Counter(tuple(cell[key] for key in keys) for cell in report["cells"]).values()
    least, most = min(counts), max(counts)
    if most == 1:
        return "one seed"
    return f"{most} seeds" if least == most else f"{least} to {most} seeds"


def caption(report: dict[str, Any]) -> str:
    """How and on what it was timed, for the line above a table."""
    config, machine = report["config"], report["environment"]
    return (
        f"median of {config['repeats']} interleaved rounds, {config['threads']} threads, "
        f"{machine.get('device', machine['cpu'])}, torch {machine['torch']}"
    )
