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


def main() -> None:
    """Draw and save."""
    fig, ax = plt.subplots(figsize=(10.5, 3.4))
    box(ax, 0.9, 1.5, 1.5, 1.0, "tokens\nany irreps", GREY)
    for y, name in ((2.6, "q"), (1.5, "k"), (0.4, "v")):
        box(ax, 2.7, y, 0.6, 0.6, name, GREY)
        arrow(ax, (1.7, 1.5), (2.35, y))
    box(ax, 4.8, 2.05, 2.2, 1.5, "mixer\n$O(N\\log N)$ or $O(N)$", BLUE)
    arrow(ax, (3.05, 2.6), (3.65, 2.4))
    arrow(ax, (3.05, 1.5), (3.65, 1.7))
    box(ax, 6.75, 2.05, 0.9, 0.8, "gate", GREY)
    arrow(ax, (5.95, 2.05), (6.25, 2.05))
    box(ax, 8.5, 1.5, 1.7, 1.0, "tensor\nproduct", ORANGE)
    arrow(ax, (7.25, 2.05), (7.62, 1.75))
    arrow(ax, (3.05, 0.4), (7.62, 1.2))
    box(ax, 10.4, 1.5, 1.4, 1.0, "tokens\nany irreps", GREY)
    arrow(ax, (9.4, 1.5), (9.67, 1.5))
    ax.text(
        4.8, 3.05, "coordinate · query_key · filter · attention · linear_attention",
        ha="center", fontsize=11, color=BLUE, family="monospace",
    )  # fmt: skip
    ax.set_xlim(0, 11.3)
    ax.set_ylim(-0.1, 3.35)
    ax.axis("off")
    fig.savefig(Path(__file__).with_suffix(".png"), dpi=130, bbox_inches="tight")


if __name__ == "__main__":
    main()
