"""Ways to compute the operators, one sub-package each, chosen automatically.

``eager`` is plain torch and always there. ``native`` is C generated from the paths, compiled by the
system's compiler at first use and cached; it serves CPU tensors. ``triton`` are Triton kernels
generated from the paths; they serve CUDA tensors. The environment variable ``E3HYENA_BACKEND`` or
:func:`use_backend` overrides the choice. What a back-end is: :class:`Backend`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from e3hyena.ops.backends.base import Backend
from e3hyena.ops.backends.heap import keep_freed_pages
from e3hyena.ops.backends.native import Native
from e3hyena.ops.backends.triton import Triton

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend(),
        Native(),
        Triton(),
    )
}
_chosen: list[str] = []
_SMALL = 4096  # elements below which compiling for new paths is not worth the wait


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Compute with one back-end inside a ``with`` block.

    Parameters
    ----------
    name : {"auto", "eager", "native", "triton"}
        The last two raise where they cannot be used; ``auto`` falls back to ``eager``.

    Examples
    --------
    >>> with use_backend("eager"):
    ...     pass
    """
    _check(name)
    _chosen.append(name)
    try:
        yield
    finally:
        _chosen.pop()


def select(x: Tensor) -> Backend:
    """The back-end for an operand, on whatever device it is."""
    if x.device.type == "cpu":
        keep_freed_pages()
    name = _chosen[-1] if _chosen else _check(os.environ.get("E3HYENA_BACKEND", "auto"))
    if name != "auto":
        return BACKENDS[name]
    if x.numel() >= _SMALL:
        for backend in BACKENDS.values():
            if x.device.type in backend.devices and backend.available():
                return backend
    return BACKENDS["eager"]


def _check(name: str) -> str:
    if name != "auto" and name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown; use one of auto, {', '.join(BACKENDS)}")
    return name
