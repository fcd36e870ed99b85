"""Compiles generated C at first use and keeps the library.

Needs a C compiler (``$CC``, ``cc`` or ``gcc``); OpenMP comes from torch's own run time, so both
share one pool of threads. Compiled libraries lie in the private folder of
:mod:`e3hyena.ops.backends.cache`.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from e3hyena.ops.backends.cache import kept
from e3hyena.ops.backends.native.contraction_source import source
from e3hyena.ops.paths import paths_from_key

_FLAGS = ["-O2", "-march=native", "-fPIC", "-fopenmp", "-fno-math-errno", "-std=gnu11", "-w", "-c"]
TIME_LIMIT = 120.0  # seconds for one call of the compiler


class BuildError(OSError):
    """A library cannot be compiled or loaded."""


def compiler() -> str | None:
    """Path of the C compiler."""
    candidates = [os.environ.get("CC"), "cc", "gcc"]
    return next((path for c in candidates if c and (path := shutil.which(c))), None)


@functools.cache
def _openmp() -> list[str]:
    """Torch's own OpenMP run time if it ships one, else the compiler's."""
    bundled = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    return [str(bundled[0]), f"-Wl,-rpath,{bundled[0].parent}"] if bundled else ["-fopenmp"]


@functools.cache
def _identity() -> str:
    """What a compiled library depends on besides its source."""
    cpu = Path("/proc/cpuinfo")
    flags = [line for line in cpu.read_text().splitlines() if line.startswith("flags")][:1] if (
        cpu.exists()
    ) else []  # fmt: skip
    return repr((_FLAGS, _openmp(), platform.machine(), flags, run([str(compiler()), "--version"])))


def run(command: Sequence[str]) -> str:
    """What a command prints within `TIME_LIMIT` seconds; the processes it started end too."""
    with tempfile.TemporaryFile() as output:  # a pipe would wait for those processes
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise BuildError(f"{command[0]} cannot be started: {error}") from error
        try:
            code = process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{command[0]} took longer than {TIME_LIMIT:g} s") from error
        finally:
            if process.poll() is None:
                _end(process)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if code:
        raise BuildError(f"{' '.join(command[:2])} failed: {text.strip()[:400]}")
    return text


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


@functools.cache
def vector_bytes() -> int:
    """Size of a vector register, as torch uses it."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"AVX512": 64, "AVX2": 32}.get(capability, 16)


@functools.cache
def library(key: str, dtype: torch.dtype) -> ctypes.CDLL:
    """What was compiled for some paths and a dtype."""
    double = dtype in (torch.float64, torch.complex128)
    return load(source(paths_from_key(key), double, dtype.is_complex, vector_bytes()))


def load(code: str) -> ctypes.CDLL:
    """The library made of some C, compiled if it is not in the cache, or not whole."""
    key = hashlib.sha256((code + _identity()).encode()).hexdigest()[:24]
    try:
        return ctypes.CDLL(str(kept(key, ".so", functools.partial(_compile, code))))
    except BuildError:
        raise
    except OSError as error:
        raise BuildError(str(error)) from error


def _compile(code: str, whole: Path) -> None:
    unit, part = str(whole.with_name("k.c")), str(whole.with_name("k.o"))
    Path(unit).write_text(code)
    path = str(compiler())
    run([path, *_FLAGS, unit, "-o", part])
    run([path, "-shared", part, "-o", str(whole), *_openmp(), "-lm"])


def call(source: str, name: str, *arguments: Tensor | int | float) -> None:
    """Call a function of C source, SCALAR and SQRT defined as those of the first operand.

    Tensors are passed as pointers, ints as long, floats as double; the number of threads is last.
    """
    double = arguments[0].dtype == torch.float64  # type: ignore[union-attr]
    function = getattr(_template(source, double), name)
    function(*(_argument(a) for a in (*arguments, torch.get_num_threads())))


@functools.cache
def _template(source: str, double: bool) -> ctypes.CDLL:
    scalar, root = ("double", "sqrt") if double else ("float", "sqrtf")
    return load(f"#define SCALAR {scalar}\n#define SQRT {root}\n{source}")


def _argument(value: Tensor | int | float) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_double:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_double(value)


def rows(x: Tensor) -> tuple[Tensor, int, int]:
    """``(C, d, T)`` with contiguous tokens, and the strides of channel and component."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x, x.stride(0), x.stride(1)
