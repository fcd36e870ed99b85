"""What becomes of a report: JSON, plot, and tables in documents."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.documents import holds_block, write_block
from e3hyena._extras import require
from e3hyena.training.files import atomic_path, write_json


def publish(
    name: str,
    report: dict[str, Any],
    blocks: Mapping[str, str],
    draw: Callable[[dict[str, Any], Any], None] | None,
    folder: Path,
    documents: Sequence[Path],
) -> None:
    """Print the first block, write ``<name>.json`` and ``<name>.png``, rewrite the documents."""
    print(next(iter(blocks.values()), ""))
    write_json(folder / f"{name}.json", report, sealed=False)
    print(f"written: {folder / name}.json")
    if draw is not None:
        # A figure of its own: no window system, no global state of pyplot.
        figure = require("matplotlib.figure", "train").Figure(layout="constrained", dpi=130)
        draw(report, figure)
        with atomic_path(folder / f"{name}.png") as temporary:
            figure.savefig(temporary)
        print(f"written: {folder / name}.png")
    for document in documents:
        for block, text in blocks.items():
            if holds_block(document, block):
                write_block(document, block, text)
        print(f"written: {document}")
