"""Whether ``torch.export`` follows a computation: then no number may be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

_torch_exports = getattr(torch.compiler, "is_exporting", bool)  # since torch 2.7
_followed: ContextVar[bool] = ContextVar("e3hyena_exporting", default=False)


def exporting() -> bool:
    """Whether numbers of atoms, edges and graphs are symbols, and values unknown.

    Inputs are not checked then, graphs are :class:`~e3hyena.ops.tiles.TiledSegments`, and what the
    back-end ``eager`` computes, where it was chosen, is plain torch in the exported program;
    otherwise the program holds this package's opaque operators and needs the package to run.
    """
    if torch.compiler.is_dynamo_compiling():  # which reads no context variables
        return _torch_exports()
    return _followed.get() or _torch_exports()


@contextmanager
def as_exporting() -> Iterator[None]:
    """Treat what runs inside as followed by torch, for tracers that do not say so themselves."""
    token = _followed.set(True)
    try:
        yield
    finally:
        _followed.reset(token)


@contextmanager
def outside() -> Iterator[None]:
    """Make tensors that are kept: of numbers, whoever follows, and usable in any later mode."""
    with _disable_current_modes(), torch.inference_mode(False):
        yield
