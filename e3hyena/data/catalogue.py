"""What a data set says of itself: contents, size, targets, source and licence."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from e3hyena.data.targets import Target


@dataclass(frozen=True)
class Entry:
    """One source of molecules; `e3hyena.registry.CATALOGUE` holds them by name.

    Attributes
    ----------
    dataset : type
        The PyG dataset: ``dataset(root, split=..., transform=..., **options)``, without `root`
        where there is none. Items have ``z``, ``pos`` and what the targets read. Its keyword-only
        arguments are the options of the configuration.
    targets : callable
        From the options to the targets that can be learned, by name.
    size : str
        How many molecules.
    holds : str
        What is known about them.
    download : str
        What is fetched, and how much; empty: nothing.
    origin : str
        Who made it.
    licence : str
    root : {"folder", "file", ""}
        What ``data.root`` names.
    cells : bool
        Whether structures may be periodic, with ``cell`` and ``pbc``.
    """

    dataset: Callable[..., Any]
    targets: Callable[[Mapping[str, Any]], Mapping[str, Target]]
    size: str
    holds: str
    download: str
    origin: str
    licence: str
    root: str = ""
    cells: bool = False

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.dataset.__name__

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options."""
        parameters = inspect.signature(self.dataset).parameters.values()
        return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)

    def open(
        self,
        root: str | None = None,
        options: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Any:
        """The dataset, with the options of the configuration; other arguments are passed on."""
        self.check(root, options or {})
        return self.dataset(*([root] if self.root else []), **arguments, **(options or {}))

    def check(self, root: str | None, options: Mapping[str, Any]) -> None:
        """Raise ValueError if the root is missing, or an option is unknown."""
        if self.root and root is None:
            fetch = "; `e3hyena data fetch` brings it" if self.download else ""
            raise ValueError(f"{self.name} needs data.root, its {self.root}{fetch}")
        if unknown := sorted(options.keys() - set(self.options)):
            known = ", ".join(self.options) or "none"
            raise ValueError(
                f"data.options = {dict(options)!r}: {self.name} has no option {unknown[0]!r} "
                f"(it has {known})"
            )
