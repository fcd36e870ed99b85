"""Contraction and long convolution in C, generated from the paths.

Compiled at first use by the system's compiler (:mod:`e3hyena.ops.backends.native_build`). The whole
long convolution is one pass over channels where torch's library of transforms can be called from C
(:mod:`e3hyena.ops.backends.transforms`); elsewhere only the contraction is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import subprocess
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from e3hyena.ops import spectral
from e3hyena.ops.backends import eager, native_moments, native_rows, native_scalars, transforms
from e3hyena.ops.backends.native_build import compiler, library
from e3hyena.ops.backends.native_direct_source import num_pairs
from e3hyena.ops.backends.transforms import functions, plan
from e3hyena.ops.paths import Paths
from e3hyena.ops.spectrum import Bucket, buckets

moments, moments_backward = native_moments.moments, native_moments.moments_backward
read, read_backward = native_moments.read, native_moments.read_backward
scalars, scalars_backward = native_scalars.scalars, native_scalars.scalars_backward
scale, scale_backward = native_rows.scale, native_rows.scale_backward
norm, norm_backward = native_rows.norm, native_rows.norm_backward
_MAX_NONZEROS = 1024  # beyond, compiling takes half a minute
_BLOCK = 4096
_ALIGNED = 4096
DIRECT_LENGTH: int | None = None  # most tokens of a direct sum; None: by measured cost
BUDGET_BYTES = 256 * 2**10  # of spectra per thread, if several graphs fit: stays in cache


@functools.cache
def available() -> bool:
    """Whether a compiler is there and what it makes can be loaded and is right."""
    if compiler() is None:
        return False
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1o")
    x, y, weight = torch.ones(2, 4, 21), torch.ones(2, 4, 21), torch.ones(paths.num_paths, 2)
    try:
        result = contract(paths, 2, x, y, weight)
    except (OSError, subprocess.SubprocessError) as error:
        warnings.warn(
            f"the C back-end cannot be built ({error}); using the slower eager one. Set "
            "E3HYENA_BACKEND=eager to silence this",
            stacklevel=2,
        )
        return False
    return torch.allclose(result, eager.contract(paths, 2, x, y, weight), atol=1e-5)


def contract(paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """See :func:`e3hyena.ops.contraction.contract`."""
    if not _supported(paths, x):
        return eager.contract(paths, slot, x, y, weight)
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


def contract_weight(paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
    """See :func:`e3hyena.ops.contraction.contract_weight`."""
    if not _supported(paths, x1):
        return eager.contract_weight(paths, x1, x2, x3)
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


def convolve(
    paths: Paths, slot: int, x: Tensor, y: Tensor, weight: Tensor, boundary: str,
    lengths: tuple[int, ...],
) -> Tensor:  # fmt: skip
    """See :func:`e3hyena.ops.spectral.convolve`."""
    if not _fused(paths, x):
        return spectral.convolve(contract, paths, slot, x, y, weight, boundary, lengths)
    first, second = (paths.dims[i] for i in range(3) if i != slot)
    x, y = _rows(x), _rows(y)
    out = x.new_empty(x.shape[0], paths.dims[slot], x.shape[-1])
    c_library = library(paths.key, x.dtype.to_complex())
    double = x.dtype == torch.float64
    for bucket in buckets(lengths, boundary):
        if sums_directly(paths, slot, max(bucket.sizes), bucket.length, 64 // x.element_size()):
            _direct(c_library, paths, slot, x, y, weight.contiguous(), out, bucket, boundary)
            continue
        job = _prepare(bucket, boundary, sum(paths.dims), x)
        points, group = bucket.length, job.bucket.group
        forward = plan(points, (first + second) * group, double, False)
        backward = plan(points, paths.dims[slot] * group, double, True)
        scaled = (weight / points).contiguous()
        _check(
            getattr(c_library, f"convolve{slot}")(
                *_pointers(x, y, scaled, out),
                ctypes.c_long(x.shape[0]),
                *_strides(x, y, out),
                ctypes.byref(job.bucket),
                forward.handle,
                backward.handle,
                *functions("ComputeForward", "ComputeBackward"),
                *job.work,
            )
        )
    return out


def convolve_weight(
    paths: Paths, x1: Tensor, x2: Tensor, x3: Tensor, boundary: str, lengths: tuple[int, ...]
) -> Tensor:
    """See :func:`e3hyena.ops.spectral.convolve_weight`."""
    if not _fused(paths, x1):
        return spectral.convolve_weight(contract_weight, paths, x1, x2, x3, boundary, lengths)
    operands = [_rows(x) for x in (x1, x2, x3)]
    total = torch.zeros(paths.num_paths, x1.shape[0], dtype=torch.float64)
    c_library = library(paths.key, x1.dtype.to_complex())
    for bucket in buckets(lengths, boundary):
        job = _prepare(bucket, boundary, sum(paths.dims), x1)
        points, group = bucket.length, job.bucket.group
        forward = plan(points, sum(paths.dims) * group, x1.dtype == torch.float64, False)
        parts = total.new_empty(-(-len(bucket.sizes) // group), *total.shape)
        _check(
            c_library.convolve_weight(
                *_pointers(*operands, parts),
                ctypes.c_long(x1.shape[0]),
                *_strides(*operands),
                ctypes.byref(job.bucket),
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
    out: Tensor, bucket: Bucket, boundary: str,
) -> None:  # fmt: skip
    """Sum over lags, without transforms."""
    n, lanes = max(bucket.sizes), 64 // x.element_size()
    width = -(-n // lanes) * lanes
    first, second = (paths.dims[i] for i in range(3) if i != slot)
    size = (first + num_pairs(paths.key, slot)) * width + second * (3 * n + 2 * lanes)
    size = -(-size // 64) * 64
    job = _job(bucket, boundary, 1, 0, size, x)
    getattr(c_library, f"direct{slot}")(
        *_pointers(x, y, weight, out),
        ctypes.c_long(x.shape[0]),
        *_strides(x, y, out),
        ctypes.byref(job.bucket),
        *job.work,
    )


class _CBucket(ctypes.Structure):
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
    bucket: _CBucket
    work: tuple[object, ...]
    keep: tuple[Tensor, ...]


def _prepare(bucket: Bucket, boundary: str, dim: int, like: Tensor) -> _Job:
    """A bucket for C, cut into groups that fit the budget, and one work space per thread."""
    stride = 2 * (bucket.length // 2 + 1)
    if stride > _ALIGNED:  # rows that start on a cache line transform faster when long
        stride = -(-stride // 16) * 16
    graph_bytes = dim * stride * like.element_size()
    graphs = len(bucket.sizes)
    chunks = -(-graphs // max(1, BUDGET_BYTES // graph_bytes))
    group = -(-graphs // chunks)
    size = -(-group * dim * stride // 64) * 64
    return _job(bucket, boundary, group, stride, size, like)


def _job(bucket: Bucket, boundary: str, group: int, stride: int, size: int, like: Tensor) -> _Job:
    starts, sizes = torch.tensor(bucket.starts), torch.tensor(bucket.sizes)
    threads = torch.get_num_threads()
    work = like.new_empty(threads, size)
    place = {"circular": 1, "same": 2}.get(boundary, 0)
    c_bucket = _CBucket(
        starts.data_ptr(), sizes.data_ptr(), len(sizes), group, bucket.length, stride, place
    )
    arguments = (*_pointers(work), ctypes.c_long(size), ctypes.c_int(threads))
    return _Job(c_bucket, arguments, (starts, sizes, work))


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


def _fused(paths: Paths, x: Tensor) -> bool:
    return transforms.available() and _supported(paths, x)


def _supported(paths: Paths, x: Tensor) -> bool:
    known = x.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)
    return known and x.device.type == "cpu" and len(paths.nonzeros()) <= _MAX_NONZEROS


def _rows(x: Tensor) -> Tensor:
    """The operand with a contiguous last axis."""
    x = x.resolve_conj()
    return x if x.stride(-1) == 1 else x.contiguous()
