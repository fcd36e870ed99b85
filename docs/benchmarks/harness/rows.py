"""The networks that a study compares."""

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


def labels(names: Iterable[str], rows: Mapping[str, Row]) -> dict[str, str]:
    """How the tables call these rows."""
    return {name: rows[name].label for name in names}


def check_names(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that the study does not have.

    Examples
    --------
    >>> check_names("rows", ["atention"], {"attention": Row("attention", "attention")})
    Traceback (most recent call last):
    ...
    ValueError: rows: 'atention' is unknown; use some of attention
    """
    for name in names:
        if name not in known:
            raise ValueError(f"{option}: {name!r} is unknown; use some of {', '.join(known)}")
