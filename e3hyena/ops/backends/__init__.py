"""Ways to compute the operators, one sub-package each, chosen automatically.

``eager`` is plain torch and always there. ``native`` is C generated from the paths, compiled by the
system's compiler at first use and cached; it serves CPU tensors. ``triton`` are Triton kernels
generated from the paths; they serve CUDA tensors. The environment variable ``E3HYENA_BACKEND`` or
:func:`use_backend` overrides the choice. What a back-end is: :class:`Backend`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
_chosen: ContextVar[str | None] = ContextVar("e3hyena_backend", default=None)
_SMALL = 4096  # elements below which compiling for new paths is not worth the wait


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Compute with one back-end inside a ``with`` block, in this thread (or asyncio task) only.

    A backward pass uses the choice that holds where it runs: on the CPU the thread that calls it;
    on CUDA a thread of torch's own, which chooses by itself. All back-ends give the same gradients.

    Examples
    --------
    >>> with use_backend("eager"):
    ...     pass
    """
    _check(name)
    before = _chosen.get()
    _chosen.set(name)
    try:
        yield
    finally:
        _chosen.set(before)


def chosen() -> str:
    """The name that was asked for; ``auto`` if none was."""
    return _chosen.get() or _check(os.environ.get("E3HYENA_BACKEND", "auto"))


def select(x: Tensor) -> Backend:
    """The back-end for an operand, on whatever device it is."""
    if x.device.type == "cpu":
        keep_freed_pages()
    name = chosen()
    if name != "auto":
        return BACKENDS[name]
    if x.numel() >= _SMALL:
        for backend in BACKENDS.values():
            if x.device.type in backend.devices and (found := backend.unasked()):
                return found
    return BACKENDS["eager"]


def _check(name: str) -> str:
    if name != "auto" and name not in BACKENDS:
        raise ValueError(f"backend {name!r} is unknown; use one of auto, {', '.join(BACKENDS)}")
    return name
