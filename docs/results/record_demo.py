"""Keep the demos of several seeds in docs/results and write their table into the README.

Run: python docs/results/record_demo.py runs/demo runs/demo_1 runs/demo_2
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from e3hyena.bench.documents import write_block
from e3hyena.training.seeds import render_seeds

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"


def main(folders: list[Path]) -> None:
    """Copy results, and the plots of the first; rewrite the block ``<!-- demo -->``."""
    runs = [json.loads((folder / "results.json").read_text()) for folder in folders]
    table = render_seeds(runs)
    (HERE / "demo.json").write_text(json.dumps(runs, indent=1) + "\n")
    for plot in ("learning_curve.png", "parity.png"):
        shutil.copy(folders[0] / plot, HERE / f"demo_{plot}")
    write_block(README, "demo", table)


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
