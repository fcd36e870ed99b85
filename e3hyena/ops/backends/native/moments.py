"""Sums over features of tokens in C: features exist for a block of tokens at a time, in cache."""

import ctypes
import functools

import torch
from torch import Tensor

from e3hyena.ops.backends.eager.moments import symmetric
from e3hyena.ops.backends.native.build import load, vector_bytes
from e3hyena.ops.backends.native.moments_source import CHUNK, moments_source


def moments(
    coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor, degree: int,
    gram: bool,
) -> Tensor:  # fmt: skip
    """See :func:`e3hyena.ops.moments.moments`."""
    c = _Functions(x, frequencies, degree)
    out = c.sums(c.rows + c.features if gram else c.rows, c.features)
    operands = (*_signal(x), *_signal(values), frequencies.contiguous())
    c.call("moments", coordinate.contiguous(), weight.sqrt().contiguous(), *operands, gram, out)
    return out.sum(dim=2)


def moments_backward(
    grad: Tensor, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor,
    frequencies: Tensor, degree: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    """See :meth:`e3hyena.ops.backends.base.Backend.moments_backward`."""
    c = _Functions(x, frequencies, degree)
    by_coordinate, by_weight = (x.new_empty(coordinate.shape) for _ in range(2))
    by_x, by_values = x.new_empty(x.shape if degree else 0), x.new_empty(values.shape)
    by_frequencies = c.sums(frequencies.shape[1])
    c.call(
        "moments_back", coordinate.contiguous(), weight.contiguous(), *_signal(x),
        *_signal(values), frequencies.contiguous(),
        symmetric(grad, c.rows).contiguous(),
        by_coordinate, by_weight, by_x, by_values, by_frequencies,
    )  # fmt: skip
    return by_coordinate, by_weight, by_x, by_values, by_frequencies.sum(dim=(1, 2))


def read(
    moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> Tensor:
    """See :func:`e3hyena.ops.moments.read`."""
    c, out = _Functions(x, frequencies, degree), x.new_empty(x.shape)
    transposed = moments.transpose(2, 3).contiguous()
    operands = coordinate.contiguous(), *_signal(x), frequencies.contiguous()
    c.call("read", transposed, *operands, out)
    return out


def read_backward(
    grad: Tensor, moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> tuple[Tensor, ...]:
    """See :meth:`e3hyena.ops.backends.base.Backend.read_backward`."""
    c = _Functions(x, frequencies, degree)
    by_moments, by_frequencies = c.sums(c.rows, c.features), c.sums(frequencies.shape[1])
    by_coordinate, by_x = x.new_empty(coordinate.shape), x.new_empty(x.shape if degree else 0)
    c.call(
        "read_back", moments.contiguous(), coordinate.contiguous(), *_signal(x), *_signal(grad),
        frequencies.contiguous(), by_moments, by_coordinate, by_x, by_frequencies,
    )  # fmt: skip
    return by_moments.sum(dim=2), by_coordinate, by_x, by_frequencies.sum(dim=(1, 2))


@functools.cache
def _library(modes: int, rows: int, degree: int, double: bool) -> ctypes.CDLL:
    return load(moments_source(modes, rows, degree, double, vector_bytes()))


class _Functions:
    """The compiled functions for one shape of heads, and what all their calls share."""

    def __init__(self, x: Tensor, frequencies: Tensor, degree: int) -> None:
        self.like, self.heads = x, len(frequencies)
        channels, d, self.graphs, self.tokens = x.shape
        modes = frequencies.shape[1] + 1
        self.rows = channels // self.heads * d
        self.features = 2 * modes - 1 + self.rows * degree
        self.chunks = -(-self.tokens // CHUNK)
        double = x.dtype == torch.float64
        self.library = _library(modes, self.rows, degree, double)

    def sums(self, *shape: int) -> Tensor:
        """What the tasks sum, every task in a place of its own."""
        return self.like.new_empty(self.heads, self.graphs, self.chunks, *shape)

    def call(self, name: str, *arguments: Tensor | int) -> None:
        """Pass pointers, numbers, the shape and a work space for every thread."""
        size = self.library.work_size
        size.restype = ctypes.c_long
        threads = torch.get_num_threads()
        work = self.like.new_empty(threads, size())
        shape = self.heads, self.graphs, self.tokens, self.chunks, threads, work
        getattr(self.library, name)(
            *(
                ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_long(a)
                for a in (*arguments, *shape)
            )
        )


def _signal(x: Tensor) -> tuple[Tensor, int, int]:
    """``(C, d, B, N)`` with contiguous tokens, and the strides of row and graph."""
    rows = x.flatten(0, 1)
    rows = rows if rows.stride(-1) == 1 else rows.contiguous()
    return rows, rows.stride(0), rows.stride(1)
