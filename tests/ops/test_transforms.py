"""Transform lengths, and which graphs share one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.ops.transforms import (
    BOUNDARIES,
    check_boundary,
    fast_length,
    is_fast,
    transform_batches,
    transform_length,
)


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
def test_transform_batches_hold_every_graph_with_tokens_once(lengths):
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    expected = sorted((start, n) for start, n in zip(starts, lengths, strict=True) if n)
    found = transform_batches(lengths, "circular")
    graphs = [graph for b in found for graph in zip(b.starts, b.sizes, strict=True)]
    assert sorted(graphs) == expected
    assert len({b.length for b in found}) == len(found)
    assert all(transform_length(n, "circular") == b.length for b in found for n in b.sizes)


def test_boundaries():
    assert BOUNDARIES == ("circular", "causal", "same")
    assert [check_boundary(boundary) for boundary in BOUNDARIES] == list(BOUNDARIES)
    with pytest.raises(ValueError, match=r"boundary='full'.*circular, causal, same"):
        check_boundary("full")
