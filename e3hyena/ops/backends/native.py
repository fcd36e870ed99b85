"""The contraction in C, generated from the paths, compiled at first use and cached.

Needs a C compiler (``$CC``, ``cc`` or ``gcc``); OpenMP comes from torch's own run time, so both
share one pool of threads. Compiled libraries lie in ``$E3HYENA_CACHE`` or ``~/.cache/e3hyena``.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor

from e3hyena.ops.backends import eager
from e3hyena.ops.backends.native_source import source
from e3hyena.ops.paths import Paths, paths_from_key

_FLAGS = ["-O2", "-march=native", "-fPIC", "-fopenmp", "-std=gnu11", "-w", "-c"]
_MAX_NONZEROS = 1024  # beyond, compiling takes half a minute
_BLOCK = 4096


@functools.cache
def available() -> bool:
    """Whether a compiler is there and what it makes can be loaded and is right."""
    if _compiler() is None:
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
    factor = 2 if x.is_complex() else 1
    getattr(_library(paths.key, x.dtype), f"contract{slot}")(
        *(ctypes.c_void_p(t.data_ptr()) for t in (x, y, weight, out)),
        *(ctypes.c_long(n) for n in (channels, length, -(-length // _BLOCK))),
        *(ctypes.c_long(factor * t.stride(i)) for t in (x, y, out) for i in (0, 1)),
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
    factor = 2 if x1.is_complex() else 1
    _library(paths.key, x1.dtype).weight(
        *(ctypes.c_void_p(t.data_ptr()) for t in (*operands, out)),
        *(ctypes.c_long(n) for n in (channels, length)),
        *(ctypes.c_long(factor * t.stride(i)) for t in operands for i in (0, 1)),
        ctypes.c_int(torch.get_num_threads()),
    )
    return out


def _supported(paths: Paths, x: Tensor) -> bool:
    known = x.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)
    return known and x.device.type == "cpu" and len(paths.nonzeros()) <= _MAX_NONZEROS


def _rows(x: Tensor) -> Tensor:
    """The operand with a contiguous last axis."""
    x = x.resolve_conj()
    return x if x.stride(-1) == 1 else x.contiguous()


def _compiler() -> str | None:
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
    compiler = str(_compiler())
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return repr((_FLAGS, _openmp(), platform.machine(), flags, version.stdout))


@functools.cache
def _vector_bytes() -> int:
    capability = torch.backends.cpu.get_cpu_capability()
    return {"AVX512": 64, "AVX2": 32}.get(capability, 16)


@functools.cache
def _library(key: str, dtype: torch.dtype) -> ctypes.CDLL:
    double = dtype in (torch.float64, torch.complex128)
    code = source(paths_from_key(key), double, dtype.is_complex, _vector_bytes())
    digest = hashlib.sha256((code + _identity()).encode()).hexdigest()[:24]
    home = os.environ.get("E3HYENA_CACHE") or Path.home() / ".cache" / "e3hyena"
    target = Path(home) / f"{digest}.so"
    if not target.exists():
        _build(code, target)
    return ctypes.CDLL(str(target))


def _build(code: str, target: Path) -> None:
    """Compile in a folder of its own, then move into place at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        unit, part, whole = (str(Path(folder) / name) for name in ("k.c", "k.o", "k.so"))
        Path(unit).write_text(code)
        compiler = str(_compiler())
        for command in (
            [compiler, *_FLAGS, unit, "-o", part],
            [compiler, "-shared", part, "-o", whole, *_openmp()],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError(f"{' '.join(command[:2])} failed: {done.stderr.strip()[:400]}")
        os.replace(whole, target)
