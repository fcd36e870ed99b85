"""Peak memory of one call, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from e3hyena.nn.operator import HyenaOperator


def peak_memory(irreps: str, mixer: str, length: int) -> float:
    """Mebibytes that one forward pass of an operator adds to a fresh process.

    Input and parameters are there before; the figure holds everything in between and the result.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        added: float = pool.apply(_measure, (irreps, mixer, length))
    return added


def _measure(irreps: str, mixer: str, length: int) -> float:
    torch.set_num_threads(1)
    operator = HyenaOperator(irreps, mixer=mixer)
    x = torch.randn(length, operator.irreps_in.dim)
    with torch.no_grad():
        operator(x[:2048])
        _forget_high_water()
        before = _high_water()
        operator(x)
    return _high_water() - before


def _high_water() -> float:
    """Largest resident size so far, in MiB; on Linux since :func:`_forget_high_water`."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    used: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def _forget_high_water() -> None:
    """A child starts with the high water mark of its parent; Linux lets a process drop it."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
