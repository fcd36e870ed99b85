"""The way of the query from the operator to the transform: short, and never back up."""

import sys
from itertools import groupby
from pathlib import Path

import pytest
import torch

import e3hyena
from e3hyena import HyenaOperator
from e3hyena.ops.backends import native, use_backend
from e3hyena.ops.backends.native import convolution, mkl

HOME = Path(e3hyena.__file__).parent


def files_on_the_way():
    """Files of the library from the operator to the caller of this, one after the other."""
    frame, files = sys._getframe(2), []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if HOME in path.parents:
            files.append(path.relative_to(HOME).as_posix())
        frame = frame.f_back
    return [name for name, _ in groupby(reversed(files))]


@pytest.mark.parametrize("backend", ["eager", "native"])
def test_at_most_six_files(monkeypatch, backend):
    ways = []

    def watched(owner, name):
        original = getattr(owner, name)

        def call(*operands, **options):
            ways.append(files_on_the_way())
            return original(*operands, **options)

        monkeypatch.setattr(owner, name, call)

    if backend == "native":
        if not (native.available() and mkl.available()):
            pytest.skip("no C compiler, or another library of transforms")
        watched(convolution, "plan")
    else:
        watched(torch.fft, "rfft")
    operator = HyenaOperator("8x0e + 8x1o", mixer="query_key")
    with use_backend(backend):
        operator(torch.randn(360, 32))
    assert ways
    for way in ways:
        assert way[0] == "nn/operator.py"
        assert len(way) == len(set(way)) <= 6, way
