"""The transforms of the library that torch is built on, called from C.

Torch makes a new plan at every call and writes into new memory; here plans are kept, rows are
transformed in place, and one thread works on one channel. Only for builds of torch that contain
Intel's library (x86); :func:`available` finds out, and everything else goes through ``torch.fft``.
"""

import ctypes
import functools
import weakref
from pathlib import Path
from typing import Any

import torch

_REAL, _SINGLE, _DOUBLE = 33, 35, 36
_NUMBER_OF_TRANSFORMS, _CONJUGATE_EVEN_STORAGE, _COMPLEX_COMPLEX = 7, 10, 39
_INPUT_DISTANCE, _OUTPUT_DISTANCE, _THREAD_LIMIT = 14, 15, 27


_NAMES = ("CreateDescriptor_s_1d", "CreateDescriptor_d_1d", "SetValue", "CommitDescriptor",
          "FreeDescriptor", "ComputeForward", "ComputeBackward")  # fmt: skip


@functools.cache
def _library() -> dict[str, Any]:
    """The functions by name; none where torch does not export all of them."""
    try:
        torch_library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        found = {name: getattr(torch_library, f"Dfti{name}") for name in _NAMES}
    except (OSError, AttributeError):
        return {}
    for function in found.values():
        function.restype = ctypes.c_long
    return found


@functools.cache
def available() -> bool:
    """Whether the transforms are there and give what ``torch.fft`` gives."""
    if not _library():
        return False
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)
    rows = torch.nn.functional.pad(x.view(2, 10), (0, 2))
    expected = torch.view_as_real(torch.fft.rfft(x.view(2, 10))).flatten(1)
    try:
        for backward in (False, True):
            made = Plan(10, 2, double=True, backward=backward)
            call = functions("ComputeBackward" if backward else "ComputeForward")[0]
            if call(made.handle, ctypes.c_void_p(rows.data_ptr())):
                return False
            if not backward and not torch.allclose(rows, expected):
                return False
    except OSError:
        return False
    return torch.allclose(rows[:, :10] / 10, x.view(2, 10))


def functions(*names: str) -> list[Any]:
    """Functions of the library, to be called from C."""
    return [_library()[name] for name in names]


class Plan:
    """Real transforms of ``rows`` rows in place: ``points`` reals, or half as many complex + 1."""

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
        weakref.finalize(self, _library()["FreeDescriptor"], ctypes.byref(self.handle))

    def _call(self, name: str, *arguments: Any) -> None:
        words = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
        if status := _library()[name](*words):
            raise OSError(f"Dfti{name} answered {status}")


@functools.lru_cache(maxsize=128)
def plan(points: int, rows: int, double: bool, backward: bool) -> Plan:
    """A plan, made at first use."""
    return Plan(points, rows, double, backward)
