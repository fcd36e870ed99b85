"""Linear attention against its formula."""

import math

import pytest
import torch

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers import build_mixer
from e3hyena.ops.segments import Segments
from e3hyena.testing.measure import relative_error


def formula(mixer, q, k, v):
    """1 / (N sqrt(D)) times the sum over j of (q_i.k_j) v_j, head by head."""
    channels, d, n = q.shape
    width = channels // mixer.heads
    u = torch.zeros_like(v)
    for head in range(mixer.heads):
        rows = slice(head * width, (head + 1) * width)
        for i in range(n):
            for j in range(n):
                score = (q[rows, :, i] * k[rows, :, j]).sum()
                u[rows, :, i] += score * v[rows, :, j] / (n * math.sqrt(width * d))
    return u


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("irreps", ["4x0e + 4x1o", "8x0o + 4x1e + 4x2e"])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_formula(make, operands, irreps, heads, n):
    mixer = make("linear_attention", irreps, heads=heads)
    q, k, v = operands(mixer, n)
    expected = formula(mixer, q, k, v)
    assert relative_error([mixer(q, k, v, Segments((n,)))], [expected]) <= 1e-10


def test_formula_in_a_padded_batch(make, operands):
    mixer = make("linear_attention", heads=2)
    lengths = (3, 7, 0, 5)
    q, k, v = operands(mixer, 15)
    parts = zip(*(x.split(lengths, dim=-1) for x in (q, k, v)), strict=True)
    expected = torch.cat([formula(mixer, *part) for part in parts], dim=-1)
    assert relative_error([mixer(q, k, v, Segments(lengths))], [expected]) <= 1e-10


@pytest.mark.parametrize("gating", [False, True])
def test_gating_names_the_companion(gating):
    options = {"tensor_product_gating": gating}
    mixer = build_mixer("linear_attention", ChannelIrreps("4x0e"), options=options)
    assert mixer.companion == ("q" if gating else None)
    assert not list(mixer.parameters())
