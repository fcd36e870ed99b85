"""The networks that an experiment compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Parameters
    ----------
    label : str
        How the table calls it, in Markdown.
    mixer : str or None
        A mixer of `HyenaOperator`, or an opponent; None for the same network without a mixer.
    options : dict
        Options of the mixer.
    order : str, optional
        Name of the order transform of the atoms.
    equivariant : bool
        False for a network that takes the components of vectors for scalars.
    """

    label: str
    mixer: str | None
    options: dict[str, Any] = field(default_factory=dict)
    order: str | None = None
    equivariant: bool = True


def check_rows(names: Iterable[str], rows: Mapping[str, Row]) -> None:
    """Refuse a row that the experiment does not have.

    Examples
    --------
    >>> check_rows(["atention"], {"attention": Row("attention", "attention")})
    Traceback (most recent call last):
    ...
    ValueError: rows: 'atention' is unknown; use some of attention
    """
    for name in names:
        if name not in rows:
            raise ValueError(f"rows: {name!r} is unknown; use some of {', '.join(rows)}")
