"""What plots of several studies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any


def style(place: int) -> dict[str, Any]:
    """Colour and marker of the row at a place, the same in every panel."""
    return {"color": f"C{place % 10}", "marker": "os^vDPX*<>"[place % 10], "markersize": 4}


def plain(label: str) -> str:
    """A label of a table, for a plot.

    Examples
    --------
    >>> plain("`attention`, gated")
    'attention, gated'
    """
    return label.replace("`", "")


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
