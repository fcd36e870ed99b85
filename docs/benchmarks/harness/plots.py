"""What plots of several studies share."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any


def style(place: int) -> dict[str, Any]:
    """Colour and marker of the row at a place, the same in every panel."""
    return {"color": f"C{place % 10}", "marker": "os^vDPX*<>"[place % 10], "markersize": 4}


def plain(label: str) -> str:
    """A label of a table, for a plot."""
    return label.replace("`", "")


def finish(figure: Any, panels: Iterable[Any], base: int = 2) -> None:
    """Logarithmic axes, lengths by powers of a base, a grid, one legend beside all panels."""
    shown = list(panels)
    for axes in shown:
        axes.set_xscale("log", base=base)
        if base == 2:
            axes.xaxis.set_major_formatter("{x:g}")
        if axes.lines:
            axes.set_yscale("log")
        axes.grid(alpha=0.25)
    handles = shown[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", fontsize="small")


def draw_dots(axes: Any, rows: Mapping[str, Sequence[float]], **options: Any) -> None:
    """A dot for every value of a row and a tick at their mean; rows by label, the first on top."""
    places = [place for place, values in enumerate(rows.values()) for _ in values]
    (dots,) = axes.plot([x for values in rows.values() for x in values], places, ".", alpha=0.45)
    means = {place: mean(values) for place, values in enumerate(rows.values()) if values}
    ticks = {"markersize": 13, "markeredgewidth": 2, "color": dots.get_color()}
    axes.plot(list(means.values()), list(means), "|", **ticks, **options)
    axes.set_yticks(range(len(rows)), [plain(label) for label in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.grid(axis="x", which="both", alpha=0.25)


def draw_means(
    axes: Any, points: Mapping[float, Sequence[float]], *, bars: bool = False, **options: Any
) -> None:
    """A line through the means over the seeds, where there are any; least and most as thin bars."""
    held = {x: values for x, values in sorted(points.items()) if values}
    if not held:
        return
    means = [mean(values) for values in held.values()]
    if not bars:
        axes.plot(list(held), means, **options)
        return
    reach = [  # never negative, not even by rounding
        [max(0.0, m - min(values)) for m, values in zip(means, held.values(), strict=True)],
        [max(0.0, max(values) - m) for m, values in zip(means, held.values(), strict=True)],
    ]
    axes.errorbar(list(held), means, reach, linewidth=1.2, elinewidth=0.8, **options)
