"""The networks that a study compares."""

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

    def values(self) -> dict[str, Any]:
        """Mixer and options, for a cell."""
        return {"mixer": self.mixer, "mixer_options": self.options}


_GATED = {"tensor_product_gating": True}
_KNOWN = {
    "query_key": Row("`query_key`", "query_key"),
    "filter": Row("`filter`", "filter"),
    "coordinate": Row("`coordinate`", "coordinate"),
    "coordinate_square": Row(
        "`coordinate`, degree 2, K = 16", "coordinate", {"degree": 2, "sharpening": 16}
    ),
    "attention": Row("`attention`", "attention"),
    "attention_gated": Row("`attention`, tensor-product gating", "attention", _GATED),
    "linear_attention": Row("`linear_attention`", "linear_attention"),
    "linear_attention_gated": Row(
        "`linear_attention`, tensor-product gating", "linear_attention", _GATED
    ),
    "se3_hyena": Row("the paper's operator, `SE3Hyena`", "se3_hyena"),
    "cross_product": Row("the paper's attention, fused", "cross_product_fused"),
    "cross_product_dense": Row("the paper's attention, dense", "cross_product_dense"),
}


def known(*names: str) -> dict[str, Row]:
    """Rows of several studies."""
    return {name: _KNOWN[name] for name in names}


def labels(names: Iterable[str], rows: Mapping[str, Row]) -> dict[str, str]:
    """How the tables call these rows."""
    return {name: rows[name].label for name in names}


def check_names(option: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse a name that the study does not have.

    Examples
    --------
    >>> check_names("rows", ["atention"], {"attention": Row("attention", "attention")})
    Traceback (most recent call last):
    ...
    ValueError: rows: 'atention' is unknown; use some of attention
    """
    for name in names:
        if name not in allowed:
            raise ValueError(f"{option}: {name!r} is unknown; use some of {', '.join(allowed)}")
