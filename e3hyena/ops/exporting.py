"""Whether ``torch.export`` follows a computation: then no number may be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

_followed: ContextVar[bool] = ContextVar("e3hyena_exporting", default=False)
_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # torch 2.6


def exporting() -> bool:
    """Whether numbers of atoms, edges and graphs are symbols, and values unknown.

    Inputs are not checked then, graphs are :class:`~e3hyena.ops.tiles.TiledSegments`, and what the
    back-end ``eager`` computes, where it was chosen, is plain torch in the exported program;
    otherwise the program holds this package's opaque operators and needs the package to run.
    """
    if torch.compiler.is_dynamo_compiling():  # which reads no context variables
        return False
    return _followed.get() or _is_exporting()


@contextmanager
def as_exporting() -> Iterator[None]:
    """Treat what runs inside as followed by torch, for tracers that do not say so themselves."""
    token = _followed.set(True)
    try:
        yield
    finally:
        _followed.reset(token)


def outside() -> AbstractContextManager[object]:
    """Where tensors are made that are kept: of numbers, and usable in any later mode."""
    if exporting():
        return _nobody_follows()
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        return _nobody_follows()
    return torch.inference_mode(False)


@contextmanager
def _nobody_follows() -> Iterator[None]:
    with _disable_current_modes(), torch._C._DisableFuncTorch(), torch.inference_mode(False):
        yield
