"""Sums over features and their readout, on every back-end, against loops over tokens."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops.moments import moments, read

pytestmark = pytest.mark.usefixtures("backend")

HEADS, MODES, CHANNELS, D = 2, 3, 4, 4


def phi(a, x, frequency, degree):
    """Features of one token of one head: coordinate (), irreps (C/H, d), frequencies (M - 1,)."""
    modes = len(frequency) + 1
    one = torch.ones(1, dtype=a.dtype)
    parts = [torch.cat([one, (frequency * a).cos(), (frequency * a).sin()]) / math.sqrt(modes)]
    if degree >= 1:
        parts.append(x.flatten() / math.sqrt(x.numel()))
    if degree == 2:
        for row in x:
            scale = ((len(row) + row.square().sum()) * x.numel()).rsqrt()
            pairs = [(i, j) for i in range(len(row)) for j in range(i, len(row))]
            products = [row[i] * row[j] * (1 if i == j else math.sqrt(2)) for i, j in pairs]
            parts.append(torch.stack(products) * scale)
    # all first powers stand before all second ones
    return torch.cat(parts)


def naive_moments(a, w, x, z, frequencies, degree, gram):
    heads, graphs, tokens = a.shape
    width, out = len(x) // heads, []
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        for b in range(graphs):
            total = 0
            for n in range(tokens):
                feature = phi(a[h, b, n], x[own, :, b, n], frequencies[h], degree)
                rows = [z[own, :, b, n].flatten(), *([feature] if gram else [])]
                total = total + w[h, b, n] * torch.outer(torch.cat(rows), feature)
            out.append(total)
    return torch.stack(out).unflatten(0, (heads, graphs))


def naive_read(means, a, x, frequencies, degree):
    heads, graphs, tokens = a.shape
    width, out = len(x) // heads, []
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        values = [
            torch.stack(
                [
                    means[h, b] @ phi(a[h, b, n], x[own, :, b, n], frequencies[h], degree)
                    for n in range(tokens)
                ],
                dim=-1,
            )
            for b in range(graphs)
        ]
        out.append(torch.stack(values, dim=1).unflatten(0, (width, x.shape[1])))
    return torch.cat(out)


def operands(graphs, tokens, degree, dtype=torch.float64):
    torch.manual_seed(0)
    rows = CHANNELS // HEADS * D
    width = 2 * MODES - 1 + rows * (degree > 0) + CHANNELS // HEADS * 10 * (degree == 2)
    shapes = {
        "means": (HEADS, graphs, rows, width),
        "a": (HEADS, graphs, tokens),
        "x": (CHANNELS, D, graphs, tokens),
        "z": (CHANNELS, D, graphs, tokens),
        "frequencies": (HEADS, MODES - 1),
    }
    values = {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    values["w"] = torch.rand(HEADS, graphs, tokens, dtype=dtype)
    return {name: value.requires_grad_() for name, value in values.items()}


def with_gradients(function, given):
    y = function(*given)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return [y, *torch.autograd.grad((y * weights).sum(), given, allow_unused=True)]


def check(function, reference, given, *rest):
    """Forward and gradient, relative to the largest value."""
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[given[0].dtype]
    exact = [x.detach().double().requires_grad_() for x in given]
    found = with_gradients(lambda *x: function(*x, *rest), given)
    expected = with_gradients(lambda *x: reference(*x, *rest), exact)
    for mine, theirs in zip(found, expected, strict=True):
        if theirs is None:
            assert mine is None or not mine.any()
        else:
            assert mine.dtype == given[0].dtype
            assert (mine - theirs).abs().max() <= 10 * tolerance * theirs.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize(("graphs", "tokens"), [(1, 1), (3, 2), (2, 7), (1, 67)])
def test_moments_and_read_equal_loops(graphs, tokens, degree, dtype):
    given = operands(graphs, tokens, degree, dtype)
    keys = [given[name] for name in ("a", "w", "x", "z", "frequencies")]
    for gram in (True, False):
        check(moments, naive_moments, keys, degree, gram)
    check(read, naive_read, [given[name] for name in ("means", "a", "x", "frequencies")], degree)


@pytest.mark.parametrize("degree", [0, 1])
def test_tokens_need_not_be_contiguous(degree):
    given = operands(2, 8, degree)
    strided = {name: value.detach() for name, value in given.items()}
    for name in ("x", "z"):
        wide = torch.randn(*strided[name].shape[:-1], 16, dtype=torch.float64)
        wide[..., ::2] = strided[name]
        strided[name] = wide[..., ::2]
    names = ("a", "w", "x", "z", "frequencies")
    expected = moments(*(given[name] for name in names), degree, True)
    assert torch.allclose(moments(*(strided[name] for name in names), degree, True), expected)


@pytest.mark.parametrize("degree", [0, 1])
def test_twice_differentiable(degree):
    given = operands(1, 3, degree)
    keys = [given[name] for name in ("a", "w", "x", "z", "frequencies")]
    for function, inputs, rest in (
        (moments, keys, (degree, True)),
        (read, [given[name] for name in ("means", "a", "x", "frequencies")], (degree,)),
    ):
        assert gradcheck(lambda *x, f=function, r=rest: f(*x, *r), inputs)
        assert gradgradcheck(lambda *x, f=function, r=rest: f(*x, *r), inputs, fast_mode=True)


def test_two_calls_are_bitwise_equal():
    given = operands(1, 3000, 1, torch.float32)
    names = ("a", "w", "x", "z", "frequencies")
    calls = [
        with_gradients(lambda *x: moments(*x, 1, True), [given[name] for name in names])
        for _ in range(2)
    ]
    assert all(torch.equal(*pair) for pair in zip(*calls, strict=True))


def test_large_phases_keep_their_digits():
    """Range reduction of sine and cosine."""
    given = operands(1, 64, 0, torch.float32)
    a = (1e4 * given["a"]).detach()
    keys = [a, *(given[name].detach() for name in ("w", "x", "z", "frequencies"))]
    exact = [x.double() for x in keys]
    # the phase itself is rounded to float32, as in plain torch
    angle = keys[4][:, None, :, None] * a[:, :, None]
    ones = torch.ones_like(angle[:, :, :1])
    features = torch.cat([ones, angle.double().cos(), angle.double().sin()], dim=2) / MODES**0.5
    values = exact[3].reshape(HEADS, -1, 1, 64).transpose(1, 2)
    expected = values @ (features * exact[1][:, :, None]).transpose(2, 3)
    found = moments(*keys, 0, False)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
