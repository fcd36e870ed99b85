"""The plain-loop references against sums written out in full, with e3nn's Wigner symbols."""

import itertools

import pytest
import torch
from e3nn import o3

from e3hyena.ops import Paths, naive
from e3hyena.testing.measure import relative_error

IRREPS = [
    ("0e + 1o", "0e + 1o", "0e + 1o + 1e"),
    ("2x1o + 0x3e + 0e", "1e + 0o", "0o + 2x1o"),
    ("2e", "1o", "2o + 1o"),
    ("0e", "1o", "0e"),
]


def couplings(paths):
    """``(path, a, b, c, value)`` from the documented normalisation sqrt((2 l + 1) / n)."""
    s1, s2, s3 = (ir.slices() for ir in (paths.irreps1, paths.irreps2, paths.irreps_out))
    for p, (i1, i2, i3) in enumerate(paths.instructions):
        l1, l2, l3 = paths.irreps1[i1].ir.l, paths.irreps2[i2].ir.l, paths.irreps_out[i3].ir.l
        n = len([end for *_, end in paths.instructions if end == i3])
        wigner = o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
        for a, b, c in itertools.product(*(range(2 * l + 1) for l in (l1, l2, l3))):
            value = wigner[a, b, c].item() * ((2 * l3 + 1) / n) ** 0.5
            yield p, s1[i1].start + a, s2[i2].start + b, s3[i3].start + c, value


def pairs_on(i, n, boundary):
    """Which (j, m) meet on output i, from the words of the documentation."""
    for j, m in itertools.product(range(n), range(n)):
        full = j + m  # place in the full convolution of length 2n - 1
        if boundary == "circular" and full % n == i:
            yield j, m
        elif boundary == "causal" and full == i:
            yield j, m
        elif boundary == "same" and full == i + (n - 1) // 2:
            yield j, m


def in_full(q, k, weight, paths, boundary):
    """Every multiplication by itself, ``(C, d, N)``."""
    channels, _, n = q.shape
    u = torch.zeros(channels, paths.dims[2], n, dtype=torch.float64)
    terms = list(couplings(paths))
    for channel, i in itertools.product(range(channels), range(n)):
        pairs = [(i, i)] if boundary == "tokenwise" else pairs_on(i, n, boundary)
        for j, m in pairs:
            for p, a, b, c, value in terms:
                w = weight[p, channel].item()
                u[channel, c, i] += w * value * q[channel, a, j].item() * k[channel, b, m].item()
    return u


@pytest.mark.parametrize("boundary", ["circular", "causal", "same"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("irreps", IRREPS, ids=str)
def test_long_conv(operands, irreps, n, boundary):
    paths = Paths(*irreps)
    q, k, weight = (x.detach() for x in operands(paths, n, channels=2 if n < 3 else 1))
    actual = naive.tensor_product_long_conv(q, k, weight, paths, boundary=boundary)
    assert relative_error([actual], [in_full(q, k, weight, paths, boundary)]) <= 1e-13


@pytest.mark.parametrize("irreps", IRREPS, ids=str)
def test_tensor_product(operands, irreps):
    paths = Paths(*irreps)
    x1, x2, weight = (x.detach() for x in operands(paths, 3))
    actual = naive.tensor_product(x1, x2, weight, paths)
    assert relative_error([actual], [in_full(x1, x2, weight, paths, "tokenwise")]) <= 1e-13


def test_every_pair_meets_once():
    """Circular: all pairs; causal and same: a window of the full convolution."""
    for n in (1, 2, 5, 6):
        met = [pair for i in range(n) for pair in pairs_on(i, n, "circular")]
        assert sorted(met) == list(itertools.product(range(n), range(n)))
        assert [len(list(pairs_on(i, n, "causal"))) for i in range(n)] == list(range(1, n + 1))
        assert len(list(pairs_on((n - 1) - (n - 1) // 2, n, "same"))) == n


def test_unknown_boundary(operands):
    paths = Paths("0e", "0e", "0e")
    with pytest.raises(ValueError, match=r"boundary='valid'.*circular, causal, same"):
        naive.tensor_product_long_conv(*operands(paths, 3), paths, boundary="valid")
