"""Keep a demo's results in docs/results and write its table into the README.

Run: python docs/results/record_demo.py runs/demo
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from e3hyena.bench.documents import write_block
from e3hyena.training.report import render_table

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"


def main(run: Path) -> None:
    """Copy ``results.json`` and the plots, rewrite the block ``<!-- demo -->``."""
    results = json.loads((run / "results.json").read_text())
    (HERE / "demo.json").write_text(json.dumps(results, indent=1) + "\n")
    for plot in ("learning_curve.png", "parity.png"):
        shutil.copy(run / plot, HERE / f"demo_{plot}")
    write_block(README, "demo", render_table(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
