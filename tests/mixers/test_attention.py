"""Softmax attention against its formula."""

import math

import pytest
import torch

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers import build_mixer
from e3hyena.ops.segments import Segments
from e3hyena.testing.measure import relative_error


def formula(mixer, q, k, v):
    """Token by token, head by head: softmax of q.k / sqrt(D) over all components of a head."""
    channels, d, n = q.shape
    width = channels // mixer.heads
    u = torch.zeros_like(v)
    for head in range(mixer.heads):
        rows = slice(head * width, (head + 1) * width)
        for i in range(n):
            scores = [
                (q[rows, :, i] * k[rows, :, j]).sum().item() / math.sqrt(width * d)
                for j in range(n)
            ]
            total = sum(math.exp(score) for score in scores)
            for j, score in enumerate(scores):
                u[rows, :, i] += math.exp(score) / total * v[rows, :, j]
    return u


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("irreps", ["4x0e + 4x1o", "8x0o + 4x1e + 4x2e"])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_formula(make, operands, irreps, heads, n):
    mixer = make("attention", irreps, heads=heads)
    q, k, v = operands(mixer, n)
    expected = formula(mixer, q, k, v)
    assert relative_error([mixer(q, k, v, Segments((n,)))], [expected]) <= 1e-10


def test_formula_in_a_padded_batch(make, operands):
    mixer = make("attention", heads=2)
    lengths = (3, 7, 0, 5)
    q, k, v = operands(mixer, 15)
    parts = zip(*(x.split(lengths, dim=-1) for x in (q, k, v)), strict=True)
    expected = torch.cat([formula(mixer, *part) for part in parts], dim=-1)
    assert relative_error([mixer(q, k, v, Segments(lengths))], [expected]) <= 1e-10


def test_equal_values_are_returned(make, operands):
    """Weights sum to one."""
    mixer = make("attention")
    q, k, v = operands(mixer, 12)
    v = v[..., :1].expand_as(v)
    assert relative_error([mixer(q, k, v, Segments((7, 5)))], [v]) <= 1e-12


def test_a_strong_key_is_selected(make, operands):
    mixer = make("attention", heads=1)
    q, k, v = operands(mixer, 6)
    q = 100 * k.roll(-2, -1)  # token i asks for token i + 2
    assert relative_error([mixer(q, k, v, Segments((6,)))], [v.roll(-2, -1)]) <= 1e-6


@pytest.mark.parametrize("gating", [False, True])
def test_gating_names_the_companion(gating):
    options = {"tensor_product_gating": gating}
    mixer = build_mixer("attention", ChannelIrreps("4x0e"), options=options)
    assert mixer.companion == ("q" if gating else None)
    assert not list(mixer.parameters())
