"""The opaque operators: torch's own checks, and that they are derivatives of one form."""

import pytest
import torch

from e3hyena.ops import Paths, naive
from e3hyena.ops._trilinear import TOKENWISE, partial, partial_weight
from e3hyena.ops.transforms import BOUNDARIES
from e3hyena.testing.measure import relative_error

pytestmark = pytest.mark.usefixtures("backend")
everywhere = pytest.mark.parametrize("boundary", [TOKENWISE, *BOUNDARIES])


def draw(paths, shape=(2, 2, 7), dtype=torch.float64):
    """Three signals ``(C, d, B * N)``, B graphs side by side, and a weight."""
    c, b, n = shape
    signals = [torch.randn(c, d, b * n, dtype=dtype) for d in paths.dims]
    return signals, torch.randn(paths.num_paths, c, dtype=dtype)


def form(signals, weight, paths, boundary, shape):
    """The trilinear form, from the plain loop."""
    x0, x1, x2 = (x.unflatten(2, shape[1:]).movedim(2, 0) for x in signals)
    if boundary == TOKENWISE:
        return (naive.tensor_product(x0, x1, weight, paths) * x2).sum()
    return (naive.tensor_product_long_conv(x0, x1, weight, paths, boundary=boundary) * x2).sum()


@everywhere
@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_every_slot_gives_the_same_form(small_paths, boundary, n):
    shape = (2, 3, n)
    lengths = [n] * 3
    signals, weight = draw(small_paths, shape)
    expected = form(signals, weight, small_paths, boundary, shape)
    for slot, signal in enumerate(signals):
        others = [x for i, x in enumerate(signals) if i != slot]
        derivative = partial(slot, *others, weight, small_paths.key, boundary, lengths)
        assert derivative.shape == signal.shape
        assert relative_error([(derivative * signal).sum()], [expected]) <= 1e-11
    by_weight = partial_weight(*signals, small_paths.key, boundary, lengths)
    assert by_weight.shape == weight.shape
    assert relative_error([(by_weight * weight).sum()], [expected]) <= 1e-11


@everywhere
def test_every_slot_is_the_derivative_of_the_form(small_paths, boundary):
    shape = (1, 2, 5)
    lengths = [5, 5]
    signals, weight = draw(small_paths, shape)
    leaves = [x.requires_grad_() for x in (*signals, weight)]
    value = form(leaves[:3], leaves[3], small_paths, boundary, shape)
    expected = torch.autograd.grad(value, leaves)
    for slot in range(3):
        others = [x for i, x in enumerate(signals) if i != slot]
        actual = partial(slot, *others, weight, small_paths.key, boundary, lengths)
        assert relative_error([actual.detach()], [expected[slot]]) <= 1e-12
    by_weight = partial_weight(*signals, small_paths.key, boundary, lengths)
    assert relative_error([by_weight.detach()], [expected[3]]) <= 1e-12


def check_registration(irreps, shape, boundary, dtype=torch.float64):
    """Schema, registration of autograd, shapes without data, and tracing of both."""
    paths = Paths(*irreps)
    signals, weight = draw(paths, shape, dtype)
    lengths = [shape[2]] * shape[1]
    leaves = [x.requires_grad_() for x in (*signals, weight)]
    for slot in range(3):
        others = [x for i, x in enumerate(leaves[:3]) if i != slot]
        torch.library.opcheck(
            partial.operator, (slot, *others, leaves[3], paths.key, boundary, lengths)
        )
    torch.library.opcheck(partial_weight.operator, (*leaves[:3], paths.key, boundary, lengths))


@everywhere
def test_torch_accepts_the_operators(boundary):
    check_registration(("0e + 1o", "1o", "0e + 1e"), (2, 2, 7), boundary)


@pytest.mark.parametrize(
    ("irreps", "shape"),
    [
        (("0e", "1o", "2e"), (2, 1, 4)),
        (("", "1o", "1o"), (2, 1, 4)),
        (("1o", "1o", "0e"), (2, 0, 4)),
        (("1o", "1o", "0e"), (2, 3, 0)),
        (("1o", "0e + 1o", "0e + 1o"), (1, 1, 6)),
    ],
    ids=str,
)
@pytest.mark.slow
def test_torch_accepts_the_operators_at_the_edges(irreps, shape):
    for boundary in (TOKENWISE, *BOUNDARIES):
        check_registration(irreps, shape, boundary, torch.float32)


@everywhere
def test_nothing_in_nothing_out(boundary):
    """No tokens, no graphs, no components or no paths: zeros of the right shape, no error."""
    cases = [
        (("1o", "1o", "0e + 1e"), (2, 3, 0)),
        (("1o", "1o", "0e + 1e"), (2, 0, 5)),
        (("1o", "", "0e"), (2, 3, 5)),
        (("", "", ""), (2, 3, 5)),
        (("0e", "1o", "2e"), (2, 3, 5)),
    ]
    for irreps, shape in cases:
        paths = Paths(*irreps)
        signals, weight = draw(paths, shape)
        lengths = [shape[2]] * shape[1]
        for slot, signal in enumerate(signals):
            others = [x for i, x in enumerate(signals) if i != slot]
            derivative = partial(slot, *others, weight, paths.key, boundary, lengths)
            assert torch.equal(derivative, torch.zeros_like(signal))
        by_weight = partial_weight(*signals, paths.key, boundary, lengths)
        assert torch.equal(by_weight, torch.zeros_like(weight))
