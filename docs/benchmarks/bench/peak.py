"""Peak memory of one call, measured in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops import Paths, tensor_product_long_conv
from e3hyena.ops.backends import use_backend

T = TypeVar("T")


def peak_memory(irreps: str, mixer: str, length: int, *, backward: bool = False) -> float:
    """Mebibytes that one pass of an operator adds to a fresh process.

    Input and parameters are there before; the figure holds everything in between and the result.
    """
    return in_fresh_process(_operator, irreps, mixer, length, backward)


def peak_of_convolution(irreps: str, length: int, backend: str, threads: int) -> float:
    """Mebibytes that one long convolution adds to a fresh process, its result included.

    The largest of three processes: pages that the system takes from one meanwhile (of libraries,
    under memory pressure) make its figure smaller, nothing makes it larger.
    """
    arguments = irreps, length, backend, threads
    return max(in_fresh_process(_convolution, *arguments) for _ in range(3))


def in_fresh_process(measure: Callable[..., T], *arguments: Any) -> T:
    """Result of ``measure(*arguments)`` in a process that did nothing else, with one thread."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return pool.apply(measure, arguments)


def added_mebibytes(call: Callable[[], object]) -> float:
    """Mebibytes by which a call raises the largest size of this process."""
    _return_free_memory()
    _forget_high_water()
    before = _high_water()
    call()
    return _high_water() - before


def _operator(irreps: str, mixer: str, length: int, backward: bool) -> float:
    operator = HyenaOperator(irreps, mixer=mixer)
    x = torch.randn(length, operator.irreps_in.dim)

    def call(x: Tensor) -> None:
        if not backward:
            with torch.no_grad():
                operator(x)
            return
        operator(x.requires_grad_()).sum().backward()

    call(x[:2048].detach())
    return added_mebibytes(lambda: call(x))


def _convolution(irreps: str, length: int, backend: str, threads: int) -> float:
    torch.set_num_threads(threads)
    hidden = ChannelIrreps(irreps)
    paths = Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
    q, k = torch.randn(2, hidden.num_channels, hidden.dim, length)
    weight = torch.randn(paths.num_paths, hidden.num_channels)

    def call(n: int) -> Tensor:
        with use_backend(backend):
            return tensor_product_long_conv(q[..., :n], k[..., :n], weight, paths)

    call(256)
    return added_mebibytes(lambda: call(length))


def _high_water() -> float:
    """Largest resident size so far, in MiB; on Linux since :func:`_forget_high_water`."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    used: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def _return_free_memory() -> None:
    """What the allocator keeps of earlier calls would hide what this one adds; glibc lets it go."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _forget_high_water() -> None:
    """A child starts with the high water mark of its parent; Linux lets a process drop it."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
