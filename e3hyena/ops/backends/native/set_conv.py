"""The long convolution between coordinates in C: a graph's features stay in cache."""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from e3hyena.ops.backends.native.build import load, vector_bytes

LARGEST = 1024  # tokens of a graph that one thread handles at a time
_NUM_SIGNALS = 7  # a, b, weight, q, k, z and the gradient by the result; then three parameters


def set_conv(operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int) -> Tensor:
    """See :func:`e3hyena.ops.set_conv.set_conv`; ``operands`` are all up to ``powers``."""
    call = _Call(operands, ptr, degree)
    out = call.like.new_empty(operands[3].shape)
    call(0, None, [out])
    return out


def set_conv_backward(
    grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int, longest: int
) -> list[Tensor]:
    """Gradients by all operands; those by parameters in one row."""
    call = _Call([*operands[:6], grad, *operands[6:]], ptr, degree)
    results = call.results()
    call(1, None, [None, *results])
    return call.summed(results)


def set_conv_tangent(
    directions: Sequence[Tensor], grad: Tensor, operands: Sequence[Tensor], ptr: Tensor,
    degree: int, longest: int,
) -> list[Tensor]:  # fmt: skip
    """Derivatives of the result and of its gradients where the operands move along directions."""
    call = _Call([*operands[:6], grad, *operands[6:]], ptr, degree)
    results = [call.like.new_empty(grad.shape), *call.results()]
    call(2, [*directions[:6], None, *directions[6:]], results)
    return [results[0], *call.summed(results[1:])]


class _Call:
    """The compiled functions for one shape of heads, and what all calls share."""

    def __init__(self, operands: Sequence[Tensor], ptr: Tensor, degree: int) -> None:
        self.operands, self.ptr, self.degree = list(operands), ptr.contiguous(), degree
        if len(operands) < 10:
            self.operands.insert(6, None)  # type: ignore[arg-type]
        self.like = operands[3]
        self.heads, self.powers = len(operands[-3]), operands[-1]
        self.library = library_of(self.like, operands[-3], degree)
        self.graphs = len(ptr) - 1

    def results(self) -> list[Tensor]:
        """Places for gradients: of parameters one share for every chunk of graphs."""
        chunks = self.library.num_chunks(ctypes.c_long(self.graphs))
        signals = [self.like.new_empty(x.shape) for x in self.operands[:6]]
        if not self.degree:
            signals[3].zero_()
            signals[4].zero_()
        shares = [self.like.new_empty(chunks, *x.shape) for x in self.operands[7:]]
        return [*signals, *shares]

    @staticmethod
    def summed(results: list[Tensor]) -> list[Tensor]:
        return [*results[:6], torch.cat([share.sum(dim=0).flatten() for share in results[6:]])]

    def __call__(
        self,
        order: int,
        directions: Sequence[Tensor | None] | None,
        results: Sequence[Tensor | None],
    ) -> None:
        keep: list[Tensor] = []
        threads, shape = torch.get_num_threads(), (self.graphs, len(self.powers))
        numbers = [ctypes.c_long(n) for n in shape]
        self.library.work_size.restype = ctypes.c_long
        size = self.library.work_size(_pointer(self.ptr), *numbers, ctypes.c_long(order))
        work = self.like.new_empty(threads * size)
        out = (ctypes.c_void_p * 10)(*(None if x is None else x.data_ptr() for x in results))
        self.library.set_conv(
            ctypes.c_long(order), _given(self.operands, keep),
            None if directions is None else _given(directions, keep), out, _pointer(self.ptr),
            ctypes.c_long(self.graphs), ctypes.c_long(self.heads), ctypes.c_long(len(self.powers)),
            ctypes.c_long(threads), _pointer(work),
        )  # fmt: skip


def library_of(x: Tensor, frequencies: Tensor, degree: int) -> ctypes.CDLL:
    """The functions for operands ``(C, d, T)`` and ``(H, M - 1)``."""
    heads, waves = frequencies.shape
    rows = x.shape[0] // heads * x.shape[1]
    return _library(waves + 1, rows, degree, x.dtype == torch.float64)


def _given(operands: Sequence[Tensor | None], keep: list[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """Pointers, then the distances of rows of q, k, z and the gradient."""
    pointers: list[int | None] = []
    rows: list[int] = []
    for i, x in enumerate(operands):
        if x is None:
            pointers.append(None)
            stride = 0
        else:
            y = x.flatten(0, 1) if 3 <= i < _NUM_SIGNALS else x.contiguous()
            y = y if y.stride(-1) == 1 or y.shape[-1] < 2 else y.contiguous()
            keep.append(y)
            pointers.append(y.data_ptr())
            stride = y.stride(0) if y.dim() else 0
        if 3 <= i < _NUM_SIGNALS:
            rows.append(stride)
    return (ctypes.c_void_p * 14)(*pointers, *rows)


def _pointer(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())


@functools.cache
def _library(modes: int, rows: int, degree: int, double: bool) -> ctypes.CDLL:
    scalar, integer, size = ("double", "long long", 8) if double else ("float", "int", 4)
    header = f"""
typedef {scalar} T;
#define INT {integer}
#define BYTES {vector_bytes()}
#define ALIGN {size}
#define DOUBLE {int(double)}
enum {{ M = {modes}, D = {rows}, X = {rows * degree} }};
static const T MODE = {modes**-0.5!r}, POWER = {rows**-0.5!r};
"""
    return load(header + Path(__file__).with_name("set_conv.c").read_text())
