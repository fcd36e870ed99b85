"""Keep the demos of several seeds, and the one with a wider local part, in docs/results.

Their tables go into the README.
Run: python docs/results/record_demo.py runs/demo_0 runs/demo_1 runs/demo_2 runs/demo_wide
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from e3hyena.bench.documents import write_block
from e3hyena.training.report import render_table
from e3hyena.training.seeds import render_seeds

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"


def main(folders: list[Path], wide: Path) -> None:
    """Copy results, and the plots of the first; rewrite the blocks of the README."""
    runs = [json.loads((folder / "results.json").read_text()) for folder in folders]
    table = render_seeds(runs)
    (HERE / "demo.json").write_text(json.dumps(runs, indent=1) + "\n")
    for plot in ("learning_curve.png", "parity.png"):
        shutil.copy(folders[0] / plot, HERE / f"demo_{plot}")
    write_block(README, "demo", table)
    results = json.loads((wide / "results.json").read_text())
    (HERE / "demo_wide.json").write_text(json.dumps(results, indent=1) + "\n")
    write_block(README, "demo_wide", render_table(results))


if __name__ == "__main__":
    *seeds, last = map(Path, sys.argv[1:])
    main(seeds, last)
