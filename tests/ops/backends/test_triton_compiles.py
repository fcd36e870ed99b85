"""The Triton kernels through Triton's compiler, for a GPU that need not be there."""

import os
import subprocess
import sys

import pytest

from e3hyena.ops.backends import triton

SCRIPT = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from e3hyena.ops import Paths
from e3hyena.ops.backends.triton import kernels, radial, rows, set_conv_source, source

PATHS = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
CODES = [source(PATHS, True), source(PATHS, False), rows._NORM, rows._scale((1, 3), 1.5)]
CODES += [rows._scalars(((True, 1, 2), (False, 3, 1)), angles) for angles in (True, False)]
CODES += [radial._source(4, 3.0, order) for order in (0, 2)]
CODES += [set_conv_source.source(order, 1, 1) for order in range(3)]
CONSTANTS = {"EPS": 1e-5, "BLOCK": 128, "ROWS": 32, "TOKENS": 16, "MODES": 16, "M": 3, "D": 5}
CONSTANTS |= {"MODE": 3**-0.5, "ROW": 5**-0.5}
for code in CODES:
    for name, kernel in vars(kernels.module(code)).items():
        if not isinstance(kernel, triton.JITFunction) or name == "dot":
            continue
        for kind in ("fp32", "fp64"):
            numbers = ("channels", "rows", "length", "heads")
            signature = {n: f"*{kind}" for n in kernel.arg_names} | {"ptr": "*i64"}
            signature = {n: signature[n] for n in kernel.arg_names}
            for n in kernel.arg_names:
                if n in numbers or n.endswith(("_row", "_channel", "_token")):
                    signature[n] = "i32"
            signature |= {n: "constexpr" for n in kernel.arg_names if n in CONSTANTS}
            constants = {n: CONSTANTS[n] for n in kernel.arg_names if n in CONSTANTS}
            made = ASTSource(fn=kernel, signature=signature, constexprs=constants)
            text = triton.compile(made, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
            # A number that lost its last digits on the way would come back as one conversion.
            assert kind == "fp32" or "cvt.f64.f32" not in text, (name, kind)
            print(name, kind)
"""


@pytest.mark.slow
@pytest.mark.skipif(not triton.available(), reason="no Triton")
def test_kernels_compile_and_keep_their_precision(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 2 * (2 * 4 + 3 + 2 + 2 * 3 + 2 * 2 + 3)
