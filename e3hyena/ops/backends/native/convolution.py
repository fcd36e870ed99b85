"""Contraction and long convolution in C, generated from the paths.

Compiled at first use by the system's compiler (:mod:`e3hyena.ops.backends.native.build`). The whole
long convolution is one pass over channels where torch's library of transforms can be called from C
(:mod:`e3hyena.ops.backends.native.mkl`); elsewhere only the contraction is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from e3hyena.ops.backends.base import Backend
from e3hyena.ops.backends.native import mkl
from e3hyena.ops.backends.native.build import BuildError, library
from e3hyena.ops.backends.native.direct_source import num_pairs
from e3hyena.ops.backends.native.mkl import functions, plan
from e3hyena.ops.paths import Paths
from e3hyena.ops.transforms import TransformBatch, transform_batches

Method = TypeVar("Method", bound=Callable[..., Any])
_MAX_NONZEROS = 1024  # beyond, compiling takes half a minute
_REAL, _COMPLEX = (torch.float32, torch.float64), (torch.complex64, torch.complex128)
_BLOCK = 4096
_ALIGNED = 4096
DIRECT_LENGTH: int | None = None  # most tokens of a direct sum; None: by measured cost
BUDGET_BYTES = 256 * 2**10  # of spectra per thread, if several graphs fit: stays in cache


def or_plain(method: Method) -> Method:
    """The method, or that of plain torch once something cannot be built that nobody asked for."""
    plain = getattr(Backend, method.__name__)

    @functools.wraps(method)
    def wrapped(self: CompiledPaths, *operands: Any) -> Any:
        try:
            return plain(self, *operands) if self.broken else method(self, *operands)
        except BuildError as error:
            if not self.gives_way:
                raise
            self.broken = True
            warnings.warn(
                f"the C back-end cannot be built ({error}); using the slower eager one from now "
                "on. Set E3HYENA_BACKEND=eager to silence this",
                stacklevel=2,
            )
            return plain(self, *operands)

    return cast(Method, wrapped)


class CompiledPaths(Backend):
    """What follows paths in C; the convolution where torch's library of transforms is at hand."""

    name: ClassVar[str] = "native"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def __init__(self, *, gives_way: bool = False) -> None:
        self.gives_way, self.broken = gives_way, False

    def supports(self, x: Tensor, paths: Paths | None = None) -> bool:
        """Single and double precision on the CPU, complex ones along paths, and not too many."""
        if x.device.type != "cpu":
            return False
        if paths is None:
            return x.dtype in _REAL
        return x.dtype in _REAL + _COMPLEX and len(paths.nonzeros()) <= _MAX_NONZEROS

    @or_plain
    def contract(self, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        if not self.supports(x, paths):
            return super().contract(paths, slot, x, y, weight)
        return _contract(paths, slot, x, y, weight)

    @or_plain
    def contract_weight(self, paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
        if not self.supports(x1, paths):
            return super().contract_weight(paths, x1, x2, x3)
        return _contract_weight(paths, x1, x2, x3)

    @or_plain
    def convolve(
        self, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor, boundary: str,
        lengths: tuple[int, ...],
    ) -> Tensor:  # fmt: skip
        if not (mkl.available() and self.supports(x, paths)):
            return super().convolve(paths, slot, x, y, weight, boundary, lengths)
        return _convolve(paths, slot, x, y, weight, boundary, lengths)

    @or_plain
    def convolve_weight(
        self, paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor, boundary: str,
        lengths: tuple[int, ...],
    ) -> Tensor:  # fmt: skip
        if not (mkl.available() and self.supports(x1, paths)):
            return super().convolve_weight(paths, x1, x2, x3, boundary, lengths)
        return _convolve_weight(paths, x1, x2, x3, boundary, lengths)


def _contract(paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.contract`."""
    x, y, weight = _rows(x), _rows(y), weight.contiguous()
    channels, _, length = x.shape
    out = x.new_empty(channels, paths.dims[slot], length)
    threads = torch.get_num_threads()
    getattr(library(paths.key, x.dtype), f"contract{slot}")(
        *_pointers(x, y, weight, out),
        *(ctypes.c_long(n) for n in (channels, length, -(-length // _BLOCK))),
        *_strides(x, y, out),
        ctypes.c_int(threads),
    )
    return out


def _contract_weight(paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.contract_weight`."""
    operands = [_rows(x) for x in (x1, x2, x3)]
    channels, _, length = x1.shape
    out = torch.empty(paths.num_paths, channels, dtype=x1.real.dtype)
    library(paths.key, x1.dtype).weight(
        *_pointers(*operands, out),
        *(ctypes.c_long(n) for n in (channels, length)),
        *_strides(*operands),
        ctypes.c_int(torch.get_num_threads()),
    )
    return out


def _convolve(
    paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor, boundary: str,
    lengths: tuple[int, ...],
) -> Tensor:  # fmt: skip
    """See :meth:`e3hyena.ops.backends.base.Backend.convolve`."""
    first, second = (paths.dims[i] for i in range(3) if i != slot)
    x, y = _rows(x), _rows(y)
    out = x.new_empty(x.shape[0], paths.dims[slot], x.shape[-1])
    c_library = library(paths.key, x.dtype.to_complex())
    double = x.dtype == torch.float64
    for batch in transform_batches(lengths, boundary):
        if sums_directly(paths, slot, max(batch.sizes), batch.length, 64 // x.element_size()):
            _direct(c_library, paths, slot, x, y, weight.contiguous(), out, batch, boundary)
            continue
        job = _prepare(batch, boundary, sum(paths.dims), x)
        points, group = batch.length, job.batch.group
        forward = plan(points, (first + second) * group, double, False)
        backward = plan(points, paths.dims[slot] * group, double, True)
        scaled = (weight / points).contiguous()
        _check(
            getattr(c_library, f"convolve{slot}")(
                *_pointers(x, y, scaled, out),
                ctypes.c_long(x.shape[0]),
                *_strides(x, y, out),
                ctypes.byref(job.batch),
                forward.handle,
                backward.handle,
                *functions("ComputeForward", "ComputeBackward"),
                *job.work,
            )
        )
    return out


def _convolve_weight(
    paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor, boundary: str, lengths: tuple[int, ...]
) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.convolve_weight`."""
    operands = [_rows(x) for x in (x1, x2, x3)]
    total = torch.zeros(paths.num_paths, x1.shape[0], dtype=torch.float64)
    c_library = library(paths.key, x1.dtype.to_complex())
    for batch in transform_batches(lengths, boundary):
        job = _prepare(batch, boundary, sum(paths.dims), x1)
        points, group = batch.length, job.batch.group
        forward = plan(points, sum(paths.dims) * group, x1.dtype == torch.float64, False)
        parts = total.new_empty(-(-len(batch.sizes) // group), *total.shape)
        _check(
            c_library.convolve_weight(
                *_pointers(*operands, parts),
                ctypes.c_long(x1.shape[0]),
                *_strides(*operands),
                ctypes.byref(job.batch),
                forward.handle,
                *functions("ComputeForward"),
                *job.work,
            )
        )
        total += parts.sum(0) * (2 / points)
    return total.to(x1.dtype)


def sums_directly(paths: Paths, slot: int, n: int, points: int, lanes: int) -> bool:
    """Whether a graph of n tokens is summed over lags, by costs in nanoseconds as measured.

    A function of the shape alone, so every run chooses the same; ``DIRECT_LENGTH`` overrides it.
    """
    if DIRECT_LENGTH is not None:
        return n <= DIRECT_LENGTH
    direct = 0.27 * n * -(-n // lanes) * num_pairs(paths.key, slot)
    return direct < 1.2 * sum(paths.dims) * points


def _direct(
    c_library: ctypes.CDLL, paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor,
    out: Tensor, batch: TransformBatch, boundary: str,
) -> None:  # fmt: skip
    """Sum over lags, without transforms."""
    n, lanes = max(batch.sizes), 64 // x.element_size()
    width = -(-n // lanes) * lanes
    first, second = (paths.dims[i] for i in range(3) if i != slot)
    size = (first + num_pairs(paths.key, slot)) * width + second * (3 * n + 2 * lanes)
    size = -(-size // 64) * 64
    job = _job(batch, boundary, 1, 0, size, x)
    getattr(c_library, f"direct{slot}")(
        *_pointers(x, y, weight, out),
        ctypes.c_long(x.shape[0]),
        *_strides(x, y, out),
        ctypes.byref(job.batch),
        *job.work,
    )


class _CBatch(ctypes.Structure):
    _fields_ = (
        ("starts", ctypes.c_void_p),
        ("sizes", ctypes.c_void_p),
        ("graphs", ctypes.c_long),
        ("group", ctypes.c_long),
        ("points", ctypes.c_long),
        ("stride", ctypes.c_long),
        ("place", ctypes.c_int),
    )


class _Job(NamedTuple):
    batch: _CBatch
    work: tuple[object, ...]
    keep: tuple[Tensor, ...]


def _prepare(batch: TransformBatch, boundary: str, dim: int, like: Tensor) -> _Job:
    """A batch for C, cut into groups that fit the budget, and one work space per thread."""
    stride = 2 * (batch.length // 2 + 1)
    if stride > _ALIGNED:  # rows that start on a cache line transform faster when long
        stride = -(-stride // 16) * 16
    graph_bytes = dim * stride * like.element_size()
    graphs = len(batch.sizes)
    chunks = -(-graphs // max(1, BUDGET_BYTES // graph_bytes))
    group = -(-graphs // chunks)
    size = -(-group * dim * stride // 64) * 64
    return _job(batch, boundary, group, stride, size, like)


def _job(
    batch: TransformBatch, boundary: str, group: int, stride: int, size: int, like: Tensor
) -> _Job:
    starts, sizes = torch.tensor(batch.starts), torch.tensor(batch.sizes)
    threads = torch.get_num_threads()
    work = like.new_empty(threads, size)
    place = {"circular": 1, "same": 2}.get(boundary, 0)
    c_batch = _CBatch(
        starts.data_ptr(), sizes.data_ptr(), len(sizes), group, batch.length, stride, place
    )
    arguments = (*_pointers(work), ctypes.c_long(size), ctypes.c_int(threads))
    return _Job(c_batch, arguments, (starts, sizes, work))


def _pointers(*tensors: Tensor) -> Iterator[ctypes.c_void_p]:
    return (ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors)


def _strides(*tensors: Tensor) -> Iterator[ctypes.c_long]:
    """Strides of channel and component, in real numbers."""
    for tensor in tensors:
        factor = 2 if tensor.is_complex() else 1
        yield ctypes.c_long(factor * tensor.stride(0))
        yield ctypes.c_long(factor * tensor.stride(1))


def _check(failed: int) -> None:
    if failed:
        raise RuntimeError("a transform failed inside the C back-end; set E3HYENA_BACKEND=eager")


def _rows(x: Tensor) -> Tensor:
    """The operand with a contiguous last axis."""
    x = x.resolve_conj()
    return x if x.stride(-1) == 1 else x.contiguous()
