"""The long convolution between coordinates in C against the formula in torch."""

import itertools
from functools import partial

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops.backends import native, select, use_backend
from e3hyena.ops.backends.native.set_conv import LARGEST
from e3hyena.ops.segments import Segments
from e3hyena.ops.set_conv import set_conv
from e3hyena.ops.set_conv_formula import formula
from e3hyena.testing.measure import relative_error

pytestmark = pytest.mark.skipif(not native.available(), reason="no C compiler")
RAGGED = (3, 0, 1, 18, 29, 7, 60, 0, 2)  # fewer and more tokens than features
SHAPES = [  # heads, channels, d, modes, K
    (2, 8, 4, 5, 4),
    (2, 2, 9, 17, 1),
    (1, 3, 1, 1, 0),
]
TOLERANCES = {torch.float32: 5e-6, torch.float64: 1e-12}


@pytest.fixture(autouse=True)
def in_c(eager_by_default):
    with use_backend("native"):
        yield


def operands(shape, tokens, degree, dtype=torch.float64, seed=0):
    heads, channels, d, modes, sharpening = shape
    generator = torch.Generator().manual_seed(seed)
    signals = [(heads, tokens)] * 3 + [(channels, d, tokens)] * 3
    parameters = [
        (heads, modes - 1),
        (2 * modes - 1 + degree, channels, d),
        (sharpening + 1, heads),
    ]
    drawn = [torch.randn(size, generator=generator) for size in signals + parameters]
    drawn[2] = drawn[2].sigmoid() + 0.01
    return [x.to(dtype).requires_grad_() for x in drawn]


def derivatives(function, given):
    """The result, its gradients, and the gradients of a sum over these."""
    generator = torch.Generator().manual_seed(1)

    def like(x):
        return torch.randn(x.shape, generator=generator).to(x)

    u = function(*given)
    by_u = like(u).requires_grad_()
    first = torch.autograd.grad(u, given, by_u, create_graph=True, materialize_grads=True)
    moved = sum((x * like(x)).sum() for x in first)
    second = torch.autograd.grad(moved, [by_u, *given], materialize_grads=True)
    return [u.detach()], [x.detach() for x in first], second


COMBINATIONS = [  # each is compiled: in float32 only the first shape is not slow
    pytest.param(
        shape, degree, dtype, marks=[pytest.mark.slow] * (i > 0 and dtype == torch.float32)
    )
    for (i, shape), degree, dtype in itertools.product(enumerate(SHAPES), [0, 1], TOLERANCES)
]


@pytest.mark.parametrize(("shape", "degree", "dtype"), COMBINATIONS, ids=str)
def test_equals_the_formula(shape, degree, dtype):
    given, segments = operands(shape, sum(RAGGED), degree, dtype), Segments(RAGGED)
    assert select(given[3]).fuses_set_conv(given, degree, 60)
    found = derivatives(partial(set_conv, segments=segments, degree=degree), given)
    exact = [x.detach().double().requires_grad_() for x in given]
    with use_backend("eager"):
        expected = derivatives(partial(formula, segments=segments, degree=degree), exact)
    for order, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        for mine, wanted in zip(ours, theirs, strict=True):
            assert mine.dtype == dtype
            if wanted.numel() and wanted.any():
                assert relative_error([mine], [wanted]) <= TOLERANCES[dtype] * 10 ** min(order, 1)
            else:
                assert not mine.any()


@pytest.mark.parametrize("sizes", [(3, 0, 5), (9,)])
def test_derivatives_of_any_order(sizes):
    """The graph of nine tokens has more of them than features."""
    given = operands((1, 2, 1, 2, 2), sum(sizes), 1)
    function = partial(set_conv, segments=Segments(sizes), degree=1)
    assert gradcheck(function, given)
    assert gradgradcheck(function, given)


def test_third_derivative():
    """Beyond the second, torch differentiates the formula."""
    given, segments = operands((1, 2, 1, 2, 2), 7, 1), Segments((3, 4))

    def third(function):
        energy = function(*given, segments, 1).square().sum()
        for _ in range(2):
            by = torch.autograd.grad(energy, given, create_graph=True)
            energy = sum(x.square().sum() for x in by)
        return torch.autograd.grad(energy, given)

    with use_backend("eager"):
        expected = third(formula)
    assert relative_error(third(set_conv), expected) <= 1e-10


def test_no_graphs():
    given = operands(SHAPES[0], 0, 1)
    for segments in (Segments(()), Segments((0, 0))):
        u, first, second = derivatives(partial(set_conv, segments=segments, degree=1), given)
        assert not u[0].numel()
        assert not any(x.any() for x in [*first, *second])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_graph_alone(dtype):
    given = operands(SHAPES[0], sum(RAGGED), 1, dtype)
    together = set_conv(*given, Segments(RAGGED), 1)
    parts = zip(*(x.split(RAGGED, dim=-1) for x in given[:6]), strict=True)
    alone = torch.cat(
        [set_conv(*part, *given[6:], Segments(part[0].shape[-1:]), 1) for part in parts], dim=-1
    )
    assert relative_error([together.detach()], [alone.detach()]) <= TOLERANCES[dtype]


def test_a_bad_graph_keeps_to_itself():
    given = [x.detach() for x in operands(SHAPES[0], sum(RAGGED), 1)]
    spoilt = [x.clone() for x in given]
    start, stop = sum(RAGGED[:3]), sum(RAGGED[:4])
    for x in spoilt[:6]:
        x[..., start:stop] = torch.nan
    outside = torch.ones(sum(RAGGED), dtype=torch.bool)
    outside[start:stop] = False

    def signals(given):
        u, first, second = derivatives(
            partial(set_conv, segments=Segments(RAGGED), degree=1),
            [x.requires_grad_() for x in given],
        )
        return [x[..., outside] for x in [*u, *first[:6], *second[:7]]]

    clean, beside = signals(given), signals(spoilt)
    assert all(x.isfinite().all() for x in beside)
    assert all(torch.equal(*pair) for pair in zip(clean[:7], beside[:7], strict=True))


def test_bitwise_equal_for_any_number_of_threads():
    sizes = (5, 18, 30, 3) * 20
    given = operands(SHAPES[0], sum(sizes), 1, torch.float32)
    results, threads = [], torch.get_num_threads()
    try:
        for number in (1, 2, 3, 2):
            torch.set_num_threads(number)
            found = derivatives(partial(set_conv, segments=Segments(sizes), degree=1), given)
            results.append([x for part in found for x in part])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], other, strict=True))


def test_operands_need_not_be_contiguous():
    given = [x.detach() for x in operands(SHAPES[0], sum(RAGGED), 1)]
    strided = list(given)
    for i, x in enumerate(given[:6]):
        wide = torch.randn(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
        wide[..., ::2] = x
        strided[i] = wide[..., ::2]
    channels = torch.cat([given[4], given[5]])  # a part of something larger
    strided[5] = channels[len(given[4]) :]
    segments = Segments(RAGGED)
    assert torch.equal(set_conv(*strided, segments, 1), set_conv(*given, segments, 1))


def test_large_phases_keep_their_digits():
    given = [x.detach() for x in operands(SHAPES[0], 18, 1)]
    given[0], given[1] = 1e6 * given[0], 1e6 * given[1]
    segments = Segments((18,))
    with use_backend("eager"):
        expected = formula(*given, segments, 1)
    assert relative_error([set_conv(*given, segments, 1)], [expected]) <= 1e-8


def test_large_graphs_take_another_way():
    """In blocks of tokens, so that no thread has more than its share; the result is the same."""
    sizes = (LARGEST + 1, 4)
    given, segments = operands((1, 2, 1, 2, 2), sum(sizes), 1), Segments(sizes)
    parts = zip(*(x.split(sizes, dim=-1) for x in given[:6]), strict=True)
    with use_backend("eager"):
        alone = [formula(*p, *given[6:], Segments(p[0].shape[-1:]), 1) for p in parts]
    found = set_conv(*given, segments, 1)
    assert relative_error([found.detach()], [torch.cat(alone, dim=-1).detach()]) <= 1e-12


def test_degree_two_is_not_fused():
    given = operands(SHAPES[0], 5, 0)
    assert not select(given[3]).fuses_set_conv(given, 2, 5)


def test_function_transforms():
    given, segments = [x.detach() for x in operands((1, 2, 1, 2, 2), 7, 1)], Segments((3, 4))

    def energy(function, q):
        return function(*given[:3], q, *given[4:], segments, 1).square().sum()

    ours = torch.func.grad(partial(energy, set_conv))(given[3])
    with use_backend("eager"):
        theirs = torch.func.grad(partial(energy, formula))(given[3])
    assert relative_error([ours], [theirs]) <= 1e-12
