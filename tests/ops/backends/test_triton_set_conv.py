"""The long convolution between coordinates of small graphs in one kernel, against the formula."""

import itertools
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
RAGGED = (3, 0, 1, 18)
SHAPES = [  # heads, channels, d, modes, K
    (3, 6, 4, 16, 4),
    (1, 3, 9, 1, 4),
    (2, 2, 1, 16, 0),
    (5, 5, 4, 1, 0),
    (1, 3, 9, 1, 1),
]
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture(autouse=True)
def with_triton(eager_by_default):
    with use_backend("triton"):
        yield


def drawn(*given, **options):
    return [x.detach().to(DEVICE).requires_grad_() for x in operands(*given, **options)]


def both(given, sizes, degree):
    """Result, gradients and their gradients by kernels, and by the formula in float64."""
    segments, results = Segments(sizes, DEVICE), []
    for function, dtype in ((set_conv, given[3].dtype), (formula, torch.float64)):
        leaves = [x.detach().to(dtype).requires_grad_() for x in given]
        parts = derivatives(partial(function, segments=segments, degree=degree), leaves)
        results.append([x for part in parts for x in part])
    return results


COMBINATIONS = [
    pytest.param(shape, degree, dtype, marks=[pytest.mark.slow] * (i != 5))
    for i, (shape, dtype, degree) in enumerate(itertools.product(SHAPES, LIMITS, [1, 0]))
]


@pytest.mark.parametrize(("shape", "degree", "dtype"), COMBINATIONS, ids=str)
def test_equals_the_formula(shape, degree, dtype):
    given = drawn(shape, sum(RAGGED), degree, dtype)
    for found, expected in zip(*both(given, RAGGED, degree), strict=True):
        assert found.dtype == dtype
        if expected.numel() and expected.any():
            assert relative_error([found], [expected]) <= LIMITS[dtype]
        else:
            assert not found.any()


def test_is_in_use(monkeypatch):
    given, names = drawn((1, 2, 1, 2, 2), 7, 1), []
    monkeypatch.setattr(triton.kernels, "launch", lambda code, name, *_, **__: names.append(name))
    torch.autograd.grad(set_conv(*given, Segments((3, 4), DEVICE), 1).sum(), given)
    assert names == ["set_conv"] * 2
    derivatives(partial(set_conv, segments=Segments((3, 4), DEVICE), degree=1), given)
    assert names == ["set_conv"] * 5
    fuses = partial(BACKENDS["triton"].fuses_set_conv, given)
    assert fuses(1, 32) and not fuses(1, 33) and not fuses(2, 9) and not fuses(1, 0)
    assert not BACKENDS["triton"].fuses_set_conv(drawn((1, 2, 1, 2, 17), 7, 1), 1, 9)


@pytest.mark.slow
def test_two_derivatives():
    given = drawn((1, 2, 1, 2, 2), 4, 1)
    function = partial(set_conv, segments=Segments((3, 0, 1), DEVICE), degree=1)
    assert gradcheck(function, given, fast_mode=True)
    assert gradgradcheck(function, given, fast_mode=True)


def test_one_tensor_as_several_operands():
    x, *given = drawn((1, 2, 1, 2, 2), 7, 1)[3:]
    a, b, weight = drawn((1, 2, 1, 2, 2), 7, 1)[:3]
    results = []
    for function in (set_conv, formula):
        u = function(a, b, weight, x, x, x, *given[2:], Segments((3, 4), DEVICE), 1)
        (first,) = torch.autograd.grad(u.sin().sum(), x, create_graph=True)
        results.append([first.detach(), *torch.autograd.grad(first.square().sum(), x)])
    assert relative_error(*results) <= 1e-10


def test_a_bad_graph_keeps_to_itself():
    given = [x.detach() for x in drawn((1, 2, 4, 2, 2), 9, 1)]
    spoilt = [x.clone() for x in given]
    for x in spoilt[:6]:
        x[..., 3:5] = torch.nan
    clean, beside = (both(x, (3, 2, 4), 1)[0][:7] for x in (given, spoilt))
    for a, b in zip(clean, beside, strict=True):
        assert b[..., 3:5].isnan().all()
        assert torch.equal(a[..., [0, 1, 2, 5, 6, 7, 8]], b[..., [0, 1, 2, 5, 6, 7, 8]])


def test_sizes_that_the_host_does_not_know_and_strides():
    given = [x.detach() for x in drawn((1, 2, 4, 2, 2), 9, 1)]
    strided = [x.mT.contiguous().mT if x.dim() > 1 else x for x in given]
    index = torch.tensor([0] * 3 + [1] * 2 + [2] * 4, device=DEVICE)
    found = set_conv(*strided, PaddedSegments(index, 3, 4), 1)
    assert torch.equal(found, set_conv(*given, Segments((3, 2, 4), DEVICE), 1))


def test_function_transforms():
    given, segments = [x.detach() for x in drawn((1, 2, 1, 2, 2), 7, 1)], Segments((3, 4), DEVICE)

    def energy(function, q):
        return function(*given[:3], q, *given[4:], segments, 1).square().sum()

    found = []
    for function in (set_conv, formula):
        slope = torch.func.grad(partial(energy, function))
        twice = torch.func.grad(lambda q, slope=slope: slope(q).square().sum())
        many = torch.stack([given[3], given[4]])
        found.append([slope(given[3]), twice(given[3]), torch.func.vmap(slope)(many)])
    assert relative_error(*found) <= 1e-12
