"""The filter on learned coordinates against its formula."""

import pytest
import torch

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers import build_mixer
from e3hyena.mixers.invariants import invariants
from e3hyena.ops import naive
from e3hyena.ops.segments import Segments
from e3hyena.testing import random_element
from e3hyena.testing.measure import relative_error

IRREPS = ["4x0e + 4x1o", "2x0e + 2x0o + 4x1e + 2x2e", "4x2o"]


def scalars_of(x, channels):
    """Even scalars themselves; of any other copy s / sqrt(1 + s), s the mean square."""
    columns = []
    for (_, ir), part in zip(channels.per_channel, channels.per_channel.slices(), strict=True):
        block = x[:, part]
        if str(ir) == "0e":
            columns.append(block[:, 0])
        else:
            mean = (block**2).mean(1)
            columns.append(mean / (1 + mean) ** 0.5)
    return torch.stack(columns, dim=1)


def formula(mixer, q, k, v):
    """1/N times the sum over j of (h(a_i - b_j) + g q_i.k_j) z_j, in complex numbers."""
    channels, d, n = q.shape
    width = channels // mixer.heads
    z = (v + naive.tensor_product(k, v, mixer.weight, mixer.paths)) / 2**0.5
    a = mixer.query_mlp(scalars_of(q, mixer.hidden).flatten(0, 1).T)  # (N, H)
    b = mixer.key_mlp(scalars_of(k, mixer.hidden).flatten(0, 1).T)
    h = torch.complex(*mixer.filter)  # (C, copies, M)
    dims = torch.tensor([ir.dim for _, ir in mixer.hidden.per_channel])
    u = torch.zeros_like(z)
    for c in range(channels):
        head = c // width
        own = slice(head * width, (head + 1) * width)
        dot = torch.einsum("cdi,cdj->ij", q[own], k[own]) / (width * d) ** 0.5
        for i in range(n):
            for j in range(n):
                angle = mixer.frequencies[head] * (a[i, head] - b[j, head])
                value = (h[c] * torch.exp(1j * angle)).real.sum(-1)
                value = (value + mixer.dot_gain[c] * dot[i, j]) / 2**0.5
                u[c, :, i] += value.repeat_interleave(dims) * z[c, :, j] / n
    return u


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize(
    "options", [{"heads": 2, "modes": 5}, {"heads": 1, "modes": 1}, {"modes": 3}], ids=str
)
@pytest.mark.parametrize("n", [1, 6])
def test_formula(make, operands, irreps, options, n):
    mixer = make("coordinate", irreps, **options)
    qkv = operands(mixer, n)
    expected = formula(mixer, *qkv).detach()
    assert relative_error([mixer(*qkv, Segments((n,))).detach()], [expected]) <= 1e-10


@pytest.mark.parametrize("irreps", IRREPS)
def test_invariants(irreps):
    channels = ChannelIrreps(irreps)
    x = torch.randn(channels.num_channels, channels.dim, 7, dtype=torch.float64)
    s = invariants(x, channels)
    assert s.shape == (channels.num_channels, len(channels.per_channel), 7)
    assert relative_error([s], [scalars_of(x, channels)]) <= 1e-14
    g = random_element(0, inversion=True)
    moved = g(x.transpose(1, 2), channels.per_channel).transpose(1, 2)
    assert relative_error([invariants(moved, channels)], [s]) <= 1e-13


def test_invariants_are_smooth_at_zero():
    channels = ChannelIrreps("2x0e + 2x1o")
    x = torch.zeros(2, 4, 3, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(invariants(x, channels).sum(), x, create_graph=True)
    (gg,) = torch.autograd.grad(g.square().sum() + g.sum(), x)
    assert g.isfinite().all() and gg.isfinite().all()


def test_with_zero_frequencies_every_token_gets_the_global_moment(make, operands):
    mixer = make("coordinate", modes=3)
    with torch.no_grad():
        mixer.frequencies.zero_()
        mixer.dot_gain.zero_()
    q, k, v = operands(mixer, 9)
    u = mixer(q, k, v, Segments((5, 4)))
    z = (v + naive.tensor_product(k, v, mixer.weight, mixer.paths)) / 2
    dims = torch.tensor([ir.dim for _, ir in mixer.hidden.per_channel])
    gain = mixer.filter[0].sum(-1).repeat_interleave(dims, dim=1)[..., None]
    for graph in (slice(0, 5), slice(5, 9)):
        expected = (gain * z[..., graph].mean(-1, keepdim=True)).expand_as(z[..., graph])
        assert relative_error([u[..., graph].detach()], [expected.detach()]) <= 1e-12


def test_with_other_frequencies_tokens_with_other_queries_hear_something_else(make, operands):
    mixer = make("coordinate", modes=3)
    u = mixer(*operands(mixer, 9), Segments((9,)))
    assert (u - u.mean(-1, keepdim=True)).abs().max() > 0.1 * u.abs().max()


def test_tokens_with_equal_queries_hear_the_same(make, operands):
    mixer = make("coordinate")
    q, k, v = operands(mixer, 9)
    q[..., 4] = q[..., 2]
    u = mixer(q, k, v, Segments((9,)))
    assert relative_error([u[..., 4]], [u[..., 2]]) <= 1e-12


def test_the_query_meets_the_result_later(make):
    mixer = make("coordinate")
    assert mixer.companion == "q"
    assert mixer.context.per_channel == mixer.hidden.per_channel


def test_doubling_the_tokens_changes_nothing(make, operands):
    """A mean over tokens: the same set twice gives the same."""
    mixer = make("coordinate")
    qkv = operands(mixer, 6)
    u = mixer(*qkv, Segments((6,)))
    twice = mixer(*(x.repeat(1, 1, 2) for x in qkv), Segments((12,)))
    assert relative_error([twice], [u.repeat(1, 1, 2)]) <= 1e-12


def test_initial_frequencies():
    mixer = build_mixer(
        "coordinate", ChannelIrreps("4x0e"), options={"modes": 6, "max_frequency": 32.0}
    )
    frequencies = mixer.frequencies.detach()
    assert frequencies.shape == (4, 6)
    assert not frequencies[:, 0].any()
    assert torch.allclose(frequencies[:, 1], torch.tensor(0.25))
    assert torch.allclose(frequencies[:, -1], torch.tensor(32.0))
    ratios = frequencies[:, 2:] / frequencies[:, 1:-1]
    assert torch.allclose(ratios, ratios[0, 0])


@pytest.mark.parametrize("modes", [0, -3])
def test_no_modes(modes):
    with pytest.raises(ValueError, match=f"modes={modes}"):
        build_mixer("coordinate", ChannelIrreps("4x0e"), options={"modes": modes})
