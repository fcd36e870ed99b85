"""Transform lengths, and the way into the spectrum and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.ops.spectrum import (
    BOUNDARIES,
    check_boundary,
    fast_length,
    from_spectrum,
    to_spectrum,
    transform_length,
)
from e3hyena.testing.measure import relative_error


def is_fast(n):
    """Even, no prime factor above 5."""
    if n % 2:
        return False
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def test_fast_length_is_the_smallest_fast_one():
    expected, fast = [], [n for n in range(2, 6000) if is_fast(n)]
    for n in range(1, 5000):
        fast = fast if fast[0] >= n else fast[1:]
        expected.append(fast[0])
    assert [fast_length(n) for n in range(1, 5000)] == expected


def test_fast_length_far_out():
    for n in (10**6 + 3, 3_500_000, 2**24 + 1):
        assert is_fast(fast_length(n))
        assert n <= fast_length(n) <= 1.02 * n


@given(n=st.integers(2, 5000), boundary=st.sampled_from(BOUNDARIES))
def test_transforms_are_fast_and_long_enough(n, boundary):
    """Long enough: products at distance P must not fold onto each other where they are read."""
    length = transform_length(n, boundary)
    assert is_fast(length)
    last_read = {"circular": 2 * n - 2, "causal": n - 1, "same": n - 1 + (n - 1) // 2}[boundary]
    if not (boundary == "circular" and length == n):
        assert length > last_read
        assert length > 2 * n - 2 - {"circular": 0, "causal": 0, "same": (n - 1) // 2}[boundary]
    assert length <= fast_length(2 * n)


def test_circular_keeps_a_length_that_is_fast_and_pads_one_that_is_not():
    assert [transform_length(n, "circular") for n in (1, 2, 96, 360)] == [1, 2, 96, 360]
    for n in (3, 7, 97, 1009):
        assert transform_length(n, "circular") == fast_length(2 * n - 1)


@given(
    n=st.integers(1, 60),
    slot=st.integers(0, 2),
    boundary=st.sampled_from(BOUNDARIES),
    seed=st.integers(0, 99),
)
def test_the_way_back_is_the_adjoint_of_the_way_there(n, slot, boundary, seed):
    """<E^T s, x> = <s, E x> for every signal s of P points."""
    generator = torch.Generator().manual_seed(seed)
    length = transform_length(n, boundary)
    s = torch.randn(3, length, generator=generator, dtype=torch.float64)
    x = torch.randn(3, n, generator=generator, dtype=torch.float64)
    back = from_spectrum(torch.fft.rfft(s), slot, boundary, length, n)
    there = torch.fft.irfft(to_spectrum(x, slot, boundary, length), n=length)
    assert back.shape == x.shape
    assert there.shape == s.shape
    assert (back * x).sum().item() == pytest.approx((there * s).sum().item(), abs=1e-11)


@given(n=st.integers(1, 60), slot=st.integers(0, 1), boundary=st.sampled_from(BOUNDARIES))
def test_operands_return_unchanged(n, slot, boundary):
    x = torch.randn(2, n, dtype=torch.float64)
    length = transform_length(n, boundary)
    spectrum = to_spectrum(x, slot, boundary, length)
    assert spectrum.shape == (2, length // 2 + 1)
    assert relative_error([from_spectrum(spectrum, slot, boundary, length, n)], [x]) <= 1e-13


def test_boundaries():
    assert BOUNDARIES == ("circular", "causal", "same")
    assert [check_boundary(boundary) for boundary in BOUNDARIES] == list(BOUNDARIES)
    with pytest.raises(ValueError, match=r"boundary='full'.*circular, causal, same"):
        check_boundary("full")
