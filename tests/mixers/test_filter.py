"""Hyena's implicit filter against its formula."""

import pytest
import torch

from e3hyena.ops import naive
from e3hyena.ops.segments import Segments
from e3hyena.testing.measure import relative_error

BOUNDARIES = ("circular", "causal", "same")
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)


def formula(mixer, k, v, boundary):
    """The sum over j of h_(i-j) z_j, one tap after the other."""
    n = k.shape[-1]
    z = naive.tensor_product(k, v, mixer.weight, mixer.paths)
    dims = torch.tensor([ir.dim for _, ir in mixer.hidden.per_channel])
    u = torch.zeros_like(z)
    for i in range(n):
        for j in range(n):
            lag = i - j
            if boundary == "causal" and lag < 0:
                continue
            if boundary == "circular":  # the shorter way around
                lag = min((lag + s for s in (-n, 0, n)), key=lambda t: (abs(t), -t))
            tap = mixer.impulse_response(torch.tensor([lag]))[..., 0]
            u[..., i] += tap.repeat_interleave(dims, dim=1) * z[..., j]
    return u


@boundaries
@pytest.mark.parametrize("n", [1, 2, 7, 12])
@pytest.mark.parametrize("irreps", ["2x0e + 2x1o", "2x0o + 2x1e + 4x2e"])
def test_formula(make, operands, irreps, n, boundary):
    mixer = make("filter", irreps, boundary)
    q, k, v = operands(mixer, n)
    expected = formula(mixer, k, v, boundary).detach()
    assert relative_error([mixer(q, k, v, Segments((n,))).detach()], [expected]) <= 1e-10


def test_two_sided_by_default(make):
    assert make("filter").boundary == "same"


def test_the_query_meets_the_result_later(make, operands):
    mixer = make("filter")
    assert mixer.companion == "q"
    assert mixer.context.per_channel == mixer.hidden.per_channel
    q, k, v = operands(mixer, 9)
    segments = Segments((9,))
    assert torch.equal(mixer(q, k, v, segments), mixer(torch.zeros_like(q), k, v, segments))


@boundaries
def test_the_impulse_response_is_a_network_times_a_decay(make, boundary):
    """With a network that answers one, what is left is exponential and has unit energy."""
    mixer = make("filter", boundary=boundary)
    with torch.no_grad():
        for parameter in mixer.mlp.parameters():
            parameter.zero_()
        mixer.mlp[-1].bias.fill_(1.0)
    lags = torch.arange(-6000, 6001)
    taps = mixer.impulse_response(lags).detach()
    decay = mixer.log_decay.detach().exp()[..., None]
    peak = taps[..., 6000:6001]
    assert relative_error([taps], [peak * torch.exp(-decay * lags.abs())]) <= 1e-12
    seen = taps[..., 6000:] if boundary == "causal" else taps
    assert torch.allclose(seen.square().sum(-1), torch.ones(4, 2).double(), rtol=0.3)


def test_filters_differ_by_channel_copy_and_side(make):
    mixer = make("filter", "4x0e + 2x1o")
    taps = mixer.impulse_response(torch.arange(-20, 21)).detach()
    assert taps.shape == (2, 3, 41)
    flat = taps.flatten(0, 1)
    distances = (flat[:, None] - flat).abs().amax(-1) + torch.eye(6)
    assert distances.min() > 1e-3
    assert relative_error([taps.flip(-1)], [taps]) > 1e-2


@pytest.mark.parametrize("boundary", ["causal", "same"])
def test_shift_equivariant_within_zeros(make, operands, boundary):
    mixer = make("filter", boundary=boundary)
    qkv = operands(mixer, 64)
    for x in qkv:
        x[..., :20] = 0
        x[..., 40:] = 0
    segments = Segments((64,))
    u = mixer(*qkv, segments)
    moved = mixer(*(x.roll(11, -1) for x in qkv), segments)
    assert relative_error([moved[..., 11:]], [u[..., :-11]]) <= 1e-12


@pytest.mark.parametrize("n", [9, 16, 97])
def test_circular_is_shift_equivariant(make, operands, n):
    mixer = make("filter", boundary="circular")
    qkv = operands(mixer, n)
    u = mixer(*qkv, Segments((n,)))
    moved = mixer(*(x.roll(5, -1) for x in qkv), Segments((n,)))
    assert relative_error([moved], [u.roll(5, -1)]) <= 1e-12


@pytest.mark.parametrize("padding", [1, 7, 200])
def test_padding_changes_nothing_unless_circular(make, operands, padding):
    for boundary in BOUNDARIES:
        mixer = make("filter", boundary=boundary)
        qkv = operands(mixer, 15)
        u = mixer(*qkv, Segments((15,)))
        padded = [torch.nn.functional.pad(x, (0, padding)) for x in qkv]
        v = mixer(*padded, Segments((15 + padding,)))[..., :15]
        error = relative_error([v], [u])
        assert error > 1e-3 if boundary == "circular" else error <= 1e-12


def test_causal_does_not_see_the_future_and_the_others_do(make, operands):
    segments = Segments((10, 10))
    for boundary in BOUNDARIES:
        mixer = make("filter", boundary=boundary)
        qkv = operands(mixer, 20)
        u = mixer(*qkv, segments)
        for x in qkv:
            x[..., 4:10] += 1
        error = relative_error([mixer(*qkv, segments)[..., :4]], [u[..., :4]])
        assert error <= 1e-12 if boundary == "causal" else error > 1e-2


def test_no_length_is_too_long(make, operands):
    """The filter is a function of the lag: a long sequence begins as a short one does."""
    mixer = make("filter", "1x0e", "causal")
    q, k, v = operands(mixer, 20000)
    u = mixer(q, k, v, Segments((20000,)))
    assert u.isfinite().all()
    short = mixer(q[..., :50], k[..., :50], v[..., :50], Segments((50,)))
    assert relative_error([u[..., :50]], [short]) <= 1e-12
