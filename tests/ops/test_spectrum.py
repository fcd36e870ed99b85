"""Transform lengths, and the way into the spectrum and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.ops.spectrum import (
    BOUNDARIES,
    Bucket,
    buckets,
    check_boundary,
    fast_length,
    from_spectrum,
    is_fast,
    to_spectrum,
    transform_length,
)
from e3hyena.testing.measure import relative_error


def odd_part(n):
    while n % 2 == 0:
        n //= 2
    return n


def test_fast_length_is_the_next_rung_of_the_ladder():
    rungs = [n for n in range(2, 12000, 2) if odd_part(n) in (1, 3, 5, 9, 15)]
    for n in range(1, 10000):
        rungs = rungs if rungs[0] >= n else rungs[1:]
        assert fast_length(n) == rungs[0]


def test_fast_length_far_out():
    for n in (10**6 + 3, 3_500_000, 2**24 + 1):
        assert odd_part(fast_length(n)) <= 15
        assert n <= fast_length(n) <= 1.25 * n


@given(n=st.integers(2, 5000), boundary=st.sampled_from(BOUNDARIES))
def test_transforms_are_long_enough(n, boundary):
    """Products at distance P must not fold onto each other where they are read."""
    length = transform_length(n, boundary)
    if boundary == "circular" and length == n:
        assert is_fast(n)
        return
    last_read = {"circular": 2 * n - 2, "causal": n - 1, "same": n - 1 + (n - 1) // 2}[boundary]
    assert length > last_read
    assert length > 2 * n - 2 - {"circular": 0, "causal": 0, "same": (n - 1) // 2}[boundary]
    assert length == fast_length(length)
    assert length <= 1.25 * 2 * n


def test_circular_keeps_a_length_that_is_fast_and_pads_one_that_is_not():
    for n in (1, 2, 15, 21, 26, 33, 96, 360, 8820):
        assert transform_length(n, "circular") == n
    for n in (17, 19, 97, 135, 1009, 8190):
        assert transform_length(n, "circular") == fast_length(2 * n - 1)


@given(lengths=st.lists(st.integers(0, 70), max_size=12).map(tuple))
def test_buckets_hold_every_graph_with_tokens_once(lengths):
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    expected = sorted((start, n) for start, n in zip(starts, lengths, strict=True) if n)
    found = buckets(lengths, "circular")
    graphs = [graph for b in found for graph in zip(b.starts, b.sizes, strict=True)]
    assert sorted(graphs) == expected
    assert len({b.length for b in found}) == len(found)
    assert all(transform_length(n, "circular") == b.length for b in found for n in b.sizes)


layouts = st.sampled_from(["one", "equal", "different"])


def bucket_of(n, boundary, layout):
    """Graphs of n tokens, or of n and fewer, that share the transform length of n."""
    length = transform_length(n, boundary)
    if layout == "one":
        return Bucket(length, (0,), (n,)), n
    if layout == "equal":
        return Bucket(length, (0, n), (n, n)), 2 * n
    less = max(m for m in range(1, n + 1) if m < n or n == 1)
    return Bucket(2 * length, (0, n, n + 1 + less), (n, less, less)), n + 1 + 2 * less


@given(
    n=st.integers(1, 60),
    slot=st.integers(0, 2),
    boundary=st.sampled_from(BOUNDARIES),
    layout=layouts,
    seed=st.integers(0, 99),
)
def test_the_way_back_is_the_adjoint_of_the_way_there(n, slot, boundary, layout, seed):
    """<E^T s, x> = <s, E x> for all signals s of P points."""
    generator = torch.Generator().manual_seed(seed)
    bucket, tokens = bucket_of(n, boundary, layout)
    graphs, length = len(bucket.sizes), bucket.length
    s = torch.randn(3, graphs, length, generator=generator, dtype=torch.float64)
    x = torch.randn(3, tokens, generator=generator, dtype=torch.float64)
    back = torch.zeros_like(x)
    from_spectrum(torch.fft.rfft(s), slot, boundary, bucket, back)
    there = torch.fft.irfft(to_spectrum(x, slot, boundary, bucket), n=length)
    assert there.shape == s.shape
    assert (back * x).sum().item() == pytest.approx((there * s).sum().item(), abs=1e-10)


@given(
    n=st.integers(1, 60),
    slot=st.integers(0, 1),
    boundary=st.sampled_from(BOUNDARIES),
    layout=layouts,
)
def test_operands_return_unchanged(n, slot, boundary, layout):
    bucket, tokens = bucket_of(n, boundary, layout)
    x = torch.randn(2, tokens, dtype=torch.float64)
    spectrum = to_spectrum(x, slot, boundary, bucket)
    assert spectrum.shape == (2, len(bucket.sizes), bucket.length // 2 + 1)
    back = x.clone()
    from_spectrum(spectrum, slot, boundary, bucket, back)
    assert relative_error([back], [x]) <= 1e-13


def test_boundaries():
    assert BOUNDARIES == ("circular", "causal", "same")
    assert [check_boundary(boundary) for boundary in BOUNDARIES] == list(BOUNDARIES)
    with pytest.raises(ValueError, match=r"boundary='full'.*circular, causal, same"):
        check_boundary("full")
