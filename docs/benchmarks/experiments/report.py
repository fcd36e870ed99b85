"""What all experiments do with their results: JSON, plot, and tables in documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench.report import check_documents
from benchmarks.harness.documents import write_block
from benchmarks.harness.tables import MISSING, spread
from benchmarks.harness.tables import table as markdown
from e3hyena._extras import require
from e3hyena.training.files import atomic_path, check_writable, write_json

__all__ = ["MISSING", "count_seeds", "markdown", "publish", "spread"]

_ENTRY = (  # what tells the entries of a table apart, in any experiment
    *(
        "target",
        "size",
        "variant",
        "kind",
        "length",
        "vocabulary",
        "degree",
        "protocol",
        "num_particles",
    ),
)


def publish(
    folder: str | Path,
    name: str,
    report: dict[str, Any],
    blocks: Mapping[str, str],
    draw: Callable[[Any], None],
    documents: Sequence[str],
) -> None:
    """Print the first block, write ``<name>.json`` and ``<name>.png``, rewrite the documents.

    Parameters
    ----------
    folder : str or Path
        Where the two files go.
    name : str
    report : dict
        Everything that the blocks and the plot are made of.
    blocks : mapping of str to str
        Text of every block; a document receives those that it holds.
    draw : callable
        Fills an empty figure of matplotlib.
    documents : sequence of str
        Markdown files.

    Raises
    ------
    ValueError
        If a document holds none of the blocks.
    """
    folder = check_writable(folder)
    print(next(iter(blocks.values())))
    write_json(folder / f"{name}.json", report, sealed=False)
    # A figure of its own: no window system, no global state of pyplot.
    figure = require("matplotlib.figure", "train").Figure(layout="constrained", dpi=130)
    draw(figure)
    with atomic_path(folder / f"{name}.png") as temporary:
        figure.savefig(temporary)
    for suffix in ("json", "png"):
        print(f"written: {folder / name}.{suffix}")
    check_documents(documents, *blocks)
    for document in documents:
        held = [name for name in blocks if f"<!-- {name} -->" in Path(document).read_text()]
        for name in held:
            write_block(document, name, blocks[name])
        print(f"written: {document}")


def count_seeds(report: dict[str, Any]) -> str:
    """How many seeds the entries of a table have: fewer, where an experiment was stopped early.

    Examples
    --------
    >>> cells = [{"row": "a", "seed": 0}, {"row": "a", "seed": 1}, {"row": "b", "seed": 0}]
    >>> count_seeds({"cells": cells}), count_seeds({"cells": cells[:2]})
    ('1 to 2 seeds', '2 seeds')
    """
    counts = Counter(
        tuple(cell.get(key) for key in ("row", *_ENTRY)) for cell in report["cells"]
    ).values()
    least, most = min(counts), max(counts)
    if most == 1:
        return "one seed"
    return f"{most} seeds" if least == most else f"{least} to {most} seeds"
