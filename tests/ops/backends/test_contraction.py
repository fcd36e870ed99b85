"""The contraction over paths against one einsum, in real and complex numbers."""

import pytest
import torch

from e3hyena.ops import Paths
from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import contraction
from e3hyena.testing.measure import relative_error

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
FORMULAS = ("pc,pabd,cbm,cdm->cam", "pc,pabd,cam,cdm->cbm", "pc,pabd,cam,cbm->cdm")

dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
kinds = pytest.mark.parametrize("complex_numbers", [False, True], ids=["real", "complex"])


def draw(paths, channels, length, dtype, complex_numbers):
    """Three signals ``(C, d, M)`` and a real weight."""
    kind = dtype.to_complex() if complex_numbers else dtype
    signals = [torch.randn(channels, d, length, dtype=kind) for d in paths.dims]
    return signals, torch.randn(paths.num_paths, channels, dtype=dtype)


def wide(x):
    return x.to(torch.complex128 if x.is_complex() else torch.float64)


def expected_slot(paths, slot, signals, weight):
    """Derivative by the conjugate of slot 2, or by slots 0 and 1, whose partners conjugate."""
    coefficients = wide(paths.coefficients(torch.float64))
    first, second = (wide(x) for i, x in enumerate(signals) if i != slot)
    if slot != 2:
        first = first.conj()
    coefficients, weight = coefficients.to(first.dtype), weight.to(first.dtype)
    return torch.einsum(FORMULAS[slot], weight, coefficients, first, second)


def compare(paths, signals, weight, limit):
    for slot in range(3):
        others = [x for i, x in enumerate(signals) if i != slot]
        actual = select(weight).contract(paths, slot, *others, weight)
        assert actual.dtype == signals[0].dtype
        assert relative_error([actual], [expected_slot(paths, slot, signals, weight)]) <= limit
    x0, x1, x2 = (wide(x) for x in signals)
    coefficients = paths.coefficients(torch.float64).to(x0.dtype)
    expected = torch.einsum("pabd,cam,cbm,cdm->pc", coefficients, x0, x1, x2.conj()).real
    actual = select(weight).contract_weight(paths, *signals)
    assert actual.dtype == weight.dtype
    assert relative_error([actual], [expected]) <= 10 * limit


@kinds
@dtypes
@pytest.mark.parametrize("length", [1, 67])  # whole vectors, and a rest
def test_equals_einsum(paths, length, dtype, complex_numbers):
    if not paths.num_paths:  # the operators above answer without a contraction
        return
    signals, weight = draw(paths, 3, length, dtype, complex_numbers)
    compare(paths, signals, weight, TOLERANCE[dtype])


@pytest.mark.usefixtures("backend")
@kinds
@dtypes
def test_many_channels_and_a_long_axis(dtype, complex_numbers):
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
    signals, weight = draw(paths, 17, 5003, dtype, complex_numbers)
    compare(paths, signals, weight, TOLERANCE[dtype])


@pytest.mark.usefixtures("backend")
@kinds
@dtypes
def test_any_strides(dtype, complex_numbers):
    paths = Paths("0e + 1o", "1o + 2e", "0e + 1e + 1o")
    signals, weight = draw(paths, 4, 30, dtype, complex_numbers)
    awkward = [
        signals[0][..., ::3],
        signals[1][..., :10].permute(2, 1, 0).contiguous().permute(2, 1, 0),
        signals[2][:, :, 5:15],
    ]
    assert not any(x.is_contiguous() for x in awkward)
    compare(paths, awkward, weight.t().contiguous().t(), TOLERANCE[dtype])


@pytest.mark.usefixtures("backend")
def test_lazily_conjugated_operands():
    paths = Paths("0e + 1o", "1o", "0e + 1e")
    signals, weight = draw(paths, 2, 9, torch.float64, True)
    compare(paths, [x.conj() for x in signals], weight, 1e-13)


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    paths = Paths("0e + 1o", "1o", "0e + 1e")
    signals, weight = draw(paths, 3, 100, torch.float64, True)
    for size in (1, 3000, 2**30):
        monkeypatch.setattr(contraction, "BLOCK_BYTES", size)
        compare(paths, signals, weight, 1e-13)
