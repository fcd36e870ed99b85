"""Draw results.png, time and error against size, from docs/results.

Run: python docs/figures/results.py
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
STYLES = {
    "attention": {"color": "#999999", "marker": "s", "linestyle": "--"},
    "query_key": {"color": "#3b6ea5", "marker": "o"},
    "coordinate": {"color": "#d9822b", "marker": "^"},
    "linear_attention": {"color": "#7a9e5f", "marker": "v"},
}


def draw_time(axes: Any) -> None:
    """Forward and backward of one operator, seconds against tokens."""
    cells = json.loads((RESULTS / "scaling.json").read_text())["cells"]
    for cell in cells:
        if (cell["kind"], cell["pass"], cell["irreps"]) != ("sweep", "backward", "32x0e+32x1o"):
            continue
        for row, found in cell["rows"].items():
            if row in STYLES:
                points = found["points"]
                x, y = ([point[key] for point in points] for key in ("length", "seconds"))
                axes.loglog(x, y, label=row, markersize=5, **STYLES[row])
    axes.set(title="Time, forward and backward", xlabel="tokens", ylabel="seconds")


def draw_error(axes: Any) -> None:
    """Associative recall, error against length; a dot per seed, a line through the means."""
    cells = json.loads((RESULTS / "recall.json").read_text())["cells"]
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        if cell["kind"] == "random" and cell["variant"] is None and cell["row"] in STYLES:
            found[cell["row"]][cell["length"]].append(cell["mse"])
    for row, errors in sorted(found.items()):
        lengths = sorted(errors)
        axes.loglog(lengths, [mean(errors[n]) for n in lengths], markersize=0, **STYLES[row])
        for n in lengths:
            style = {**STYLES[row], "linestyle": ""}
            axes.loglog([n] * len(errors[n]), errors[n], markersize=5, alpha=0.7, **style)
    axes.axhline(7 / 3, color="black", linewidth=0.8, linestyle=":")
    axes.annotate("predicting zero", (33, 7 / 3), (0, -11), textcoords="offset points", fontsize=9)
    ticks = [32, 64, 128, 256]
    axes.set_xticks(ticks, ticks)
    axes.minorticks_off()
    axes.set(title="Error of associative recall", xlabel="tokens", ylabel="mean square error")


def main(folder: str = str(HERE)) -> None:
    """Draw and save."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6), layout="constrained")
    draw_time(left)
    draw_error(right)
    for axes in (left, right):
        axes.grid(alpha=0.25)
    left.legend(prop={"family": "monospace", "size": 9}, frameon=False)
    figure.savefig(Path(folder) / "results.png", dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
