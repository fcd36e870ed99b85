"""The transforms of the library that torch is built on, called from C.

Torch makes a new plan at every call and writes into new memory; here plans are kept, rows are
transformed in place, and one thread works on one channel. Only for builds of torch that contain
Intel's library (x86); :func:`available` finds out, and everything else goes through ``torch.fft``.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch

_REAL, _SINGLE, _DOUBLE = 33, 35, 36
_NUMBER_OF_TRANSFORMS, _CONJUGATE_EVEN_STORAGE, _COMPLEX_COMPLEX = 7, 10, 39
_INPUT_DISTANCE, _OUTPUT_DISTANCE, _THREAD_LIMIT = 14, 15, 27


@functools.cache
def library() -> ctypes.CDLL | None:
    """Torch's own library, if it exports the transforms."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        found = ctypes.CDLL(str(path))
        found.DftiCreateDescriptor_s_1d, found.DftiSetValue, found.DftiComputeForward  # noqa: B018
    except (OSError, AttributeError):
        return None
    return found


class Plan:
    """Real transforms of ``rows`` rows in place: ``points`` reals, or half as many complex + 1.

    Raises
    ------
    OSError
        If the library refuses.
    """

    def __init__(self, points: int, rows: int, double: bool, backward: bool) -> None:
        self.handle = ctypes.c_void_p()
        half = points // 2 + 1
        self._call("CreateDescriptor_d_1d" if double else "CreateDescriptor_s_1d",
                   ctypes.byref(self.handle), _REAL, points)  # fmt: skip
        distances = (half, 2 * half) if backward else (2 * half, half)
        for name, value in (
            (_CONJUGATE_EVEN_STORAGE, _COMPLEX_COMPLEX),
            (_NUMBER_OF_TRANSFORMS, rows),
            (_INPUT_DISTANCE, distances[0]),
            (_OUTPUT_DISTANCE, distances[1]),
            (_THREAD_LIMIT, 1),
        ):
            self._call("SetValue", self.handle, name, value)
        self._call("CommitDescriptor", self.handle)

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(library(), f"Dfti{name}")
        function.restype = ctypes.c_long
        status = function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
        if status:
            raise OSError(f"Dfti{name} answered {status}")

    def __del__(self) -> None:
        if self.handle and library is not None:
            self._call("FreeDescriptor", ctypes.byref(self.handle))


@functools.lru_cache(maxsize=128)
def plan(points: int, rows: int, double: bool, backward: bool) -> Plan:
    """A plan, made at first use."""
    return Plan(points, rows, double, backward)
