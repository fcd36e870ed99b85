"""Draw overview.png, one operator and several mixers. Run: python docs/figures/overview.py"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, BLUE, ORANGE, GREY = "#222222", "#3b6ea5", "#d9822b", "#f2f2f2"


def box(ax: plt.Axes, x: float, y: float, w: float, h: float, text: str, color: str) -> None:
    """A rounded box with centred text; (x, y) is its centre."""
    ax.add_patch(
        FancyBboxPatch(
            (x - w / 2, y - h / 2), w, h, boxstyle="round,pad=0.02,rounding_size=0.12",
            facecolor=color, edgecolor=INK, linewidth=1.2,
        )
    )  # fmt: skip
    ink = "white" if color in (BLUE, ORANGE) else INK
    ax.text(x, y, text, ha="center", va="center", fontsize=12, color=ink)


def arrow(ax: plt.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow from start to end."""
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=13, linewidth=1.3, color=INK,
            shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


MIXERS = (
    ("coordinate", "$O(N)$, sets"),
    ("query_key", "$O(N \\log N)$, sequences"),
    ("filter", "$O(N \\log N)$, sequences"),
    ("linear_attention", "$O(N)$, sets"),
    ("attention", "$O(N^2)$, sets: the opponent"),
)


def main() -> None:
    """Draw and save."""
    fig, ax = plt.subplots(figsize=(10.5, 4.4))
    box(ax, 0.9, 1.5, 1.5, 1.0, "tokens\nany irreps", GREY)
    for y, name in ((2.6, "q"), (1.5, "k"), (0.4, "v")):
        box(ax, 2.7, y, 0.6, 0.6, name, GREY)
        arrow(ax, (1.7, 1.5), (2.35, y))
    box(ax, 4.8, 1.5, 2.0, 1.8, "mixer\nof tokens", BLUE)
    for start, end in ((2.6, 2.0), (1.5, 1.5), (0.4, 1.0)):
        arrow(ax, (3.05, start), (3.75, end))
    box(ax, 6.75, 1.5, 0.9, 0.8, "gate", GREY)
    arrow(ax, (5.85, 1.5), (6.25, 1.5))
    box(ax, 8.5, 1.5, 1.7, 1.0, "tensor\nproduct", ORANGE)
    arrow(ax, (7.25, 1.5), (7.6, 1.5))
    ax.plot([2.7, 2.7, 8.5], [2.95, 3.2, 3.2], color=INK, linewidth=1.3)
    arrow(ax, (8.5, 3.2), (8.5, 2.05))
    ax.text(5.6, 3.28, "q, or v", ha="center", fontsize=11, color=INK)
    box(ax, 10.4, 1.5, 1.4, 1.0, "tokens\nany irreps", GREY)
    arrow(ax, (9.4, 1.5), (9.67, 1.5))
    for row, (name, cost) in enumerate(MIXERS):
        y = 0.22 - 0.3 * row
        ax.text(4.9, y, name, ha="right", fontsize=11, color=BLUE, family="monospace")
        ax.text(5.05, y, cost, fontsize=11, color=INK)
    ax.set_xlim(0, 11.3)
    ax.set_ylim(-1.15, 3.55)
    ax.axis("off")
    fig.savefig(Path(__file__).with_suffix(".png"), dpi=130, bbox_inches="tight")


if __name__ == "__main__":
    main()
