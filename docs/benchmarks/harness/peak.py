"""Peak memory of one call, measured in a process of its own."""

import contextlib
import ctypes
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.harness.cells import end_with_parent

T = TypeVar("T")


def in_fresh_process(measure: Callable[..., T], *arguments: Any) -> T:
    """Result of ``measure(*arguments)`` in a process that did nothing else, with one thread."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=_prepare) as pool:
        return pool.apply(measure, arguments)


def _prepare() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def added_mebibytes(call: Callable[[], object]) -> float:
    """Mebibytes by which a call raises the largest size of this process."""
    _return_free_memory()
    _forget_high_water()
    before = _high_water()
    call()
    return _high_water() - before


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
