"""What can be chosen by name: mixers, data sets and orders, one line each.

A new mixer, data set or order is one file and one line here; the command line, configurations,
loaders and tables read these registries. Your own, outside the package, are registered at run time:
``MIXERS.register("mine", Mine)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from e3hyena.data.catalogue import Entry
    from e3hyena.data.orders.base import OrderTransform
    from e3hyena.mixers.base import Mixer

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things by name. One given as ``"module:name"`` is imported when it is first asked for.

    So the names are known without torch, and nothing is imported that is not used.

    Parameters
    ----------
    what : str
        What the things are called in errors.
    entries : mapping of str to str or thing

    Examples
    --------
    >>> colours = Registry("colour", {"pi": "math:pi"})
    >>> colours.register("red", 0.7)
    0.7
    >>> list(colours), round(colours["pi"], 2)
    (['pi', 'red'], 3.14)
    >>> colours["blue"]
    Traceback (most recent call last):
    ...
    KeyError: "colour 'blue' is unknown: use one of pi, red"
    """

    def __init__(self, what: str, entries: Mapping[str, str | T]) -> None:
        self.what = what
        self._entries: dict[str, str | T] = dict(entries)

    def register(self, name: str, entry: T) -> T:
        """Add a thing, and return it; a ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.what} {name!r} is there already: choose another name")
        self._entries[name] = entry
        return entry

    def unregister(self, name: str) -> None:
        """Forget a thing."""
        del self._entries[name]

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise KeyError(f"{self.what} {name!r} is unknown: use one of {', '.join(self)}")
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = self._entries[name] = getattr(import_module(module), attribute)
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


MIXERS: Registry[type[Mixer]] = Registry(
    "mixer",
    {
        "query_key": "e3hyena.mixers.query_key:QueryKey",
        "filter": "e3hyena.mixers.filter:Filter",
        "coordinate": "e3hyena.mixers.coordinate:Coordinate",
        "attention": "e3hyena.mixers.attention:Attention",
        "linear_attention": "e3hyena.mixers.linear_attention:LinearAttention",
    },
)

CATALOGUE: Registry[Entry] = Registry(
    "data set",
    {
        "extract": "e3hyena.data.extract:ENTRY",
        "qm9": "e3hyena.data.qm9:ENTRY",
        "md17": "e3hyena.data.md17:ENTRY",
        "extxyz": "e3hyena.data.extxyz:ENTRY",
        "own": "e3hyena.data.own:ENTRY",
        "cumulenes": "e3hyena.data.cumulenes:ENTRY",
    },
)

ORDERS: Registry[type[OrderTransform]] = Registry(
    "order",
    {
        "given": "e3hyena.data.orders.given:GivenOrder",
        "residue": "e3hyena.data.orders.residue:ResidueOrder",
        "spectral": "e3hyena.data.orders.spectral:SpectralOrder",
        "distance": "e3hyena.data.orders.distance:DistanceOrder",
        "breadth_first": "e3hyena.data.orders.breadth_first:BreadthFirstOrder",
        "rdkit": "e3hyena.data.orders.rdkit_rank:RDKitOrder",
    },
)
