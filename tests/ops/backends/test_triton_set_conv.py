"""The long convolution between coordinates of small graphs in one kernel, against the formula."""

from functools import partial

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops.backends import BACKENDS, triton, use_backend
from e3hyena.ops.padded import PaddedSegments
from e3hyena.ops.segments import Segments
from e3hyena.ops.set_conv import set_conv
from e3hyena.ops.set_conv_formula import formula
from e3hyena.testing.measure import relative_error

from ..test_set_conv import derivatives, operands

pytestmark = pytest.mark.skipif(not triton.available(), reason="no Triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RAGGED = (3, 0, 1, 18, 7, 0)
SHAPES = [  # heads, channels, d, modes, K
    (3, 6, 4, 16, 4),
    (1, 3, 9, 1, 4),
    (2, 2, 1, 16, 0),
    (5, 5, 4, 1, 0),
]
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture(autouse=True)
def with_triton(eager_by_default):
    with use_backend("triton"):
        yield


def drawn(*given, **options):
    return [x.detach().to(DEVICE).requires_grad_() for x in operands(*given, **options)]


def both(given, sizes, degree):
    """Result and gradients by the kernel, and by the formula in float64."""
    segments, results = Segments(sizes, DEVICE), []
    cotangent = torch.randn(given[3].shape, dtype=torch.float64).to(DEVICE)
    for function, dtype in ((set_conv, given[3].dtype), (formula, torch.float64)):
        leaves = [x.detach().to(dtype).requires_grad_() for x in given]
        u = function(*leaves, segments, degree)
        gradients = torch.autograd.grad(u, leaves, cotangent.to(dtype), materialize_grads=True)
        results.append([u.detach(), *gradients])
    return results


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_formula(shape, degree, dtype):
    given = drawn(shape, sum(RAGGED), degree, dtype)
    for found, expected in zip(*both(given, RAGGED, degree), strict=True):
        assert found.dtype == dtype
        if expected.numel() and expected.any():
            assert relative_error([found], [expected]) <= LIMITS[dtype]
        else:
            assert not found.any()
