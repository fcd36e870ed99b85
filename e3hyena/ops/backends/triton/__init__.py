"""The contraction as Triton kernels, generated from the paths: one pass over the spectra.

For CUDA tensors; ``TRITON_INTERPRET=1`` runs the same kernels on the CPU, which is how they are
tested without a GPU. Complex numbers are read as they lie, real and imaginary parts in turn.
Triton reads the source of a kernel through `linecache`, which holds it; no file is written that
somebody else could change.
"""

import functools
import hashlib
import importlib.util
import linecache
import os
from collections.abc import Sequence
from types import ModuleType
from typing import ClassVar

import torch
from torch import Tensor

from e3hyena.ops.backends.base import Backend
from e3hyena.ops.backends.triton.source import source
from e3hyena.ops.paths import Paths, paths_from_key

_MAX_NONZEROS = 1024
_BLOCK = 128  # frequencies of one channel per program
_DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


@functools.cache
def available() -> bool:
    """Whether Triton is installed, and a GPU or its interpreter is there to run it."""
    if importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.is_available() or interpreted()


def interpreted() -> bool:
    """Whether Triton's interpreter was asked for."""
    return os.environ.get("TRITON_INTERPRET") == "1"


class Triton(Backend):
    """The contraction in one kernel each; the rest in plain torch."""

    name: ClassVar[str] = "triton"
    devices: ClassVar[tuple[str, ...]] = ("cuda",)

    def available(self) -> bool:
        """Whether Triton is installed, and a GPU or its interpreter is there to run it."""
        return available()

    def supports(self, x: Tensor, paths: Paths | None = None) -> bool:
        """Single and double precision along paths that are not too many; never the CPU."""
        if x.device.type == "cpu" and not interpreted():
            raise RuntimeError(
                "the Triton back-end needs CUDA tensors; on the CPU set TRITON_INTERPRET=1 before "
                "torch is imported (slow, for tests), or use another back-end"
            )
        return x.dtype in _DTYPES and (paths is None or len(paths.nonzeros()) <= _MAX_NONZEROS)

    def contract(self, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        if not self.supports(x, paths):
            return super().contract(paths, slot, x, y, weight)
        channels, _, length = x.shape
        out = x.new_empty(channels, paths.dims[slot], length)
        _launch(paths, f"contract{slot}", (x, y, out), weight.contiguous())
        return out

    def contract_weight(self, paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
        if not self.supports(x1, paths):
            return super().contract_weight(paths, x1, x2, x3)
        programs = -(-x1.shape[-1] // _BLOCK)
        parts = x1.real.new_empty(paths.num_paths, x1.shape[0], programs)
        _launch(paths, "weight", (x1, x2, x3), parts)
        return parts.sum(-1)  # in a fixed order, unlike atomic additions


def _launch(paths: Paths, name: str, operands: Sequence[Tensor], last: Tensor) -> None:
    """Run a kernel on operands ``(C, d, M)``, one program per channel and block of M."""
    channels, _, length = operands[0].shape
    real = [_rows(x) for x in operands]
    strides = [stride for x in real for stride in x.stride()[:2]]
    kernel = getattr(_kernels(paths.key, operands[0].is_complex()), name)
    kernel[(-(-length // _BLOCK), channels)](*real, last, channels, length, *strides, BLOCK=_BLOCK)


def _rows(x: Tensor) -> Tensor:
    """Real numbers with a contiguous last axis; complex ones as pairs."""
    x = x.resolve_conj()
    x = x if x.stride(-1) == 1 else x.contiguous()
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


@functools.cache
def _kernels(key: str, complex_: bool) -> ModuleType:
    """The module of kernels for some paths."""
    code = source(paths_from_key(key), complex_)
    name = f"e3hyena_triton_{hashlib.sha256(code.encode()).hexdigest()[:24]}"
    file = f"<{name}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    module = ModuleType(name)
    exec(compile(code, file, "exec"), module.__dict__)
    return module
