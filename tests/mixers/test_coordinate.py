"""The filter on learned coordinates against its formula."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.data import QM9Extract
from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers import build_mixer
from e3hyena.models import HyenaNet
from e3hyena.ops import naive, set_conv_formula
from e3hyena.ops.invariants import angles, invariants
from e3hyena.ops.segments import Segments
from e3hyena.testing import random_element
from e3hyena.testing.measure import relative_error

IRREPS = ["4x0e + 4x1o", "2x0e + 2x0o + 4x1e + 2x2e", "4x2o"]
PLAIN = [
    {"heads": 2, "modes": 5, "degree": 0},
    {"heads": 1, "modes": 1, "degree": 1},
    {"modes": 3, "degree": 1},
    {"heads": 2, "modes": 3, "degree": 2},
]
SHARP = [{"heads": 2, "modes": 3, "degree": 1, "sharpening": 1}, {"degree": 2, "sharpening": 5}]


def scalars_of(x, channels):
    """Even scalars; of any other copy s / sqrt(1 + s), s the mean square; then inner products."""
    columns, products = [], []
    for (_, ir), part in zip(channels.per_channel, channels.per_channel.slices(), strict=True):
        block = x[:, part]
        if str(ir) == "0e":
            columns.append(block[:, 0])
            continue
        mean = (block**2).mean(1)
        columns.append(mean / (1 + mean) ** 0.5)
        after = torch.stack([block[(c + 1) % len(block)] for c in range(len(block))])
        product = (block * after).mean(1)
        products.append(product / (1 + mean + (after**2).mean(1)) ** 0.5)
    return torch.stack(columns + products, dim=1)


def weights_and_coordinates(mixer, q, k):
    a = mixer.query_mlp(scalars_of(q, mixer.hidden).flatten(0, 1)).T  # (N, H)
    b, logit = mixer.key_mlp(scalars_of(k, mixer.hidden).flatten(0, 1)).T.chunk(2, dim=1)
    w = logit.sigmoid() + 0.01
    return a, b, w / w.sum(0)


def values(mixer, k, v):
    return (v + naive.tensor_product(k, v, mixer.weight, mixer.paths)) / 2**0.5


def plain_formula(mixer, q, k, v):
    """Weighted mean over j of (h(a_i - b_j) + powers of q_i.k_j) z_j, in complex numbers."""
    channels, d, n = q.shape
    width, modes = channels // mixer.heads, mixer.features.modes
    z, (a, b, w) = values(mixer, k, v), weights_and_coordinates(mixer, q, k)
    copies = mixer.filter.shape[2]
    h = (
        torch.complex(
            mixer.filter[:modes],
            torch.cat([torch.zeros(1, channels, copies, dtype=q.dtype), mixer.filter[modes:]]),
        )
        / torch.arange(1, modes + 1)[:, None, None]
    )
    dims = torch.tensor([ir.dim for _, ir in mixer.hidden.per_channel])
    u = torch.zeros_like(z)
    for c in range(channels):
        head = c // width
        own = slice(head * width, (head + 1) * width)
        omega = torch.cat([torch.zeros(1, dtype=q.dtype), mixer.features.frequencies[head]])
        for i in range(n):
            for j in range(n):
                wave = torch.exp(1j * omega * (a[i, head] - b[j, head]))
                value = (h[:, c] * wave[:, None]).real.sum(0) / modes
                dot = (q[own, :, i] * k[own, :, j]).sum(1)
                size = ((d + (q[own, :, i] ** 2).sum(1)) * (d + (k[own, :, j] ** 2).sum(1))).sqrt()
                powers = [dot.sum() / (width * d), (dot**2 / size).sum() / (width * d)]
                for gain, power in zip(mixer.gain[:, c], powers, strict=False):
                    value = value + gain * power
                value = mixer.powers[0, head] * value
                u[c, :, i] += w[j, head] * value.repeat_interleave(dims) * z[c, :, j]
    return u


def sharp_formula(mixer, q, k, v):
    """The same with the polynomial of the Gram matrix, head by head with plain matrices."""
    z, (a, b, w) = values(mixer, k, v), weights_and_coordinates(mixer, q, k)
    keys = mixer.features(b.T[:, None], k[:, :, None])[:, 0]  # (H, F, N)
    queries = mixer.features(a.T[:, None], q[:, :, None])[:, 0]
    sizes, copies = mixer.features.sizes, mixer.filter.shape[2]
    dims = [ir.dim for _, ir in mixer.hidden.per_channel]
    width, out = q.shape[0] // mixer.heads, []
    for c in range(q.shape[0]):
        head = c // width
        weighted = keys[head] * w[:, head]
        gram = weighted @ keys[head].T
        rest = torch.eye(len(gram), dtype=q.dtype) - gram / gram.square().sum().sqrt()
        polynomial = sum(
            power * torch.linalg.matrix_power(rest, n)
            for n, power in enumerate(mixer.powers[:, head])
        )
        rows = []
        for copy in range(copies):
            taps = torch.zeros(len(gram), len(gram), dtype=q.dtype)  # S -> filtered S
            m = mixer.features.modes
            taps[0, 0] = mixer.filter[0, c, copy]
            for i in range(1, m):
                cos, sin = i, m - 1 + i
                taps[cos, cos] = taps[sin, sin] = mixer.filter[i, c, copy] / (i + 1)
                taps[sin, cos] = mixer.filter[m - 1 + i, c, copy] / (i + 1)
                taps[cos, sin] = -taps[sin, cos]
            start = 2 * m - 1
            for power, size in enumerate(sizes[3:]):
                for f in range(start, start + size):
                    taps[f, f] = mixer.gain[power, c, copy]
                start += size
            kernel = weighted.T @ polynomial @ taps @ queries[head]  # (N, N): j, i
            first = sum(dims[:copy])
            rows.append(z[c, first : first + dims[copy]] @ kernel)
        out.append(torch.cat(rows))
    return torch.stack(out)


def with_gradients(function, mixer, qkv):
    """Result, and gradients of a weighted sum of it by operands and parameters."""
    qkv = [x.clone().requires_grad_() for x in qkv]
    u = function(*qkv)
    weights = torch.linspace(-1, 1, u.numel(), dtype=u.dtype).reshape(u.shape)
    wanted = [*qkv, *(p for p in mixer.parameters() if p.numel())]
    grads = torch.autograd.grad((u * weights).sum(), wanted, allow_unused=True)
    grads = [torch.zeros_like(x) if g is None else g for g, x in zip(grads, wanted, strict=True)]
    return [u.detach(), torch.cat([g.flatten() for g in grads])]


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("options", PLAIN, ids=str)
@pytest.mark.parametrize("n", [1, 5])
def test_formula(make, operands, irreps, options, n):
    mixer = make("coordinate", irreps, sharpening=0, **options)
    qkv = operands(mixer, n)
    ours = with_gradients(lambda *x: mixer(*x, Segments((n,))), mixer, qkv)
    expected = with_gradients(lambda *x: plain_formula(mixer, *x), mixer, qkv)
    assert relative_error(ours[:1], expected[:1]) <= 1e-12
    assert relative_error(ours[1:], expected[1:]) <= 1e-10


@pytest.mark.parametrize("irreps", IRREPS)
@pytest.mark.parametrize("options", SHARP, ids=str)
@pytest.mark.parametrize("n", [1, 6])
def test_sharpened_formula(make, operands, irreps, options, n):
    mixer = make("coordinate", irreps, **options)
    qkv = operands(mixer, n)
    ours = with_gradients(lambda *x: mixer(*x, Segments((n,))), mixer, qkv)
    expected = with_gradients(lambda *x: sharp_formula(mixer, *x), mixer, qkv)
    assert relative_error(ours[:1], expected[:1]) <= 1e-11
    assert relative_error(ours[1:], expected[1:]) <= 1e-10


@pytest.mark.parametrize("irreps", IRREPS)
def test_invariants(irreps):
    channels = ChannelIrreps(irreps)
    x = torch.randn(channels.num_channels, channels.dim, 7, dtype=torch.float64)

    def both(x):
        return torch.cat([invariants(x, channels), angles(x, channels)], dim=1)

    assert relative_error([both(x)], [scalars_of(x, channels)]) <= 1e-14
    g = random_element(0, inversion=True)
    moved = g(x.transpose(1, 2), channels.per_channel).transpose(1, 2)
    assert relative_error([both(moved)], [both(x)]) <= 1e-13


def test_invariants_are_smooth_at_zero():
    channels = ChannelIrreps("2x0e + 2x1o")
    x = torch.zeros(2, 4, 3, dtype=torch.float64, requires_grad=True)
    y = invariants(x, channels).sum() + angles(x, channels).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (gg,) = torch.autograd.grad(g.square().sum() + g.sum(), x)
    assert g.isfinite().all() and gg.isfinite().all()


@pytest.mark.parametrize("options", [*PLAIN, *SHARP], ids=str)
def test_blocks_of_tokens_change_nothing(make, operands, monkeypatch, options):
    """Features of a few tokens at a time, computed again for gradients of any order."""
    mixer = make("coordinate", **options)
    qkv, segments = operands(mixer, 11), Segments((11,))
    whole = with_gradients(lambda *x: mixer(*x, segments), mixer, qkv)
    monkeypatch.setattr(set_conv_formula, "BLOCK", 4)
    blocks = with_gradients(lambda *x: mixer(*x, segments), mixer, qkv)
    assert relative_error(blocks, whole) <= 1e-12


def test_blocks_are_differentiable_twice(make, operands, monkeypatch):
    monkeypatch.setattr(set_conv_formula, "BLOCK", 2)
    mixer = make("coordinate", "2x0e + 2x1o", heads=1, modes=2, sharpening=1)
    qkv = [x.requires_grad_() for x in operands(mixer, 3)]

    def apply(*x):
        return mixer(*x, Segments((3,)))

    assert gradcheck(apply, qkv)
    assert gradgradcheck(apply, qkv)


@pytest.mark.parametrize("degree", [1, 2])
def test_features_are_not_kept(make, operands, monkeypatch, degree):
    """Saved for the backward pass: operands, not the (F, N) features of any head."""
    mixer = make("coordinate", modes=16, sharpening=0, degree=degree)
    features = mixer.heads * sum(mixer.features.sizes)

    def largest_saved(block):
        monkeypatch.setattr(set_conv_formula, "BLOCK", block)
        sizes = []
        qkv = [x.requires_grad_() for x in operands(mixer, 64)]
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: (sizes.append(t.numel()), t)[1], lambda t: t
        ):
            mixer(*qkv, Segments((64,)))
        return max(sizes)

    # Up to degree 1 one operator makes and forgets them; beyond, each block of tokens does.
    assert (largest_saved(64) >= 64 * features) == (degree == 2)
    assert largest_saved(16) < 64 * features / 2


def test_with_one_mode_every_token_gets_the_global_moment(make, operands):
    mixer = make("coordinate", modes=1, degree=0, sharpening=0)
    q, k, v = operands(mixer, 9)
    u = mixer(q, k, v, Segments((5, 4)))
    z, (_, _, w) = values(mixer, k, v), weights_and_coordinates(mixer, q, k)
    dims = torch.tensor([ir.dim for _, ir in mixer.hidden.per_channel])
    width = mixer.hidden.num_channels // mixer.heads
    w = w.T.repeat_interleave(width, dim=0)[:, None]
    gain = (mixer.filter[0] * mixer.powers[0].repeat_interleave(width)[:, None]).repeat_interleave(
        dims, dim=1
    )
    for graph in (slice(0, 5), slice(5, 9)):
        own = w[..., graph] / w[..., graph].sum(-1, keepdim=True)
        expected = gain[..., None] * (own * z[..., graph]).sum(-1, keepdim=True)
        assert (
            relative_error([u[..., graph].detach()], [expected.expand_as(z[..., graph])]) <= 1e-12
        )


def test_with_more_modes_tokens_with_other_queries_hear_something_else(make, operands):
    mixer = make("coordinate", modes=3, degree=0)
    u = mixer(*operands(mixer, 9), Segments((9,)))
    assert (u - u.mean(-1, keepdim=True)).abs().max() > 0.1 * u.abs().max()


def test_tokens_with_equal_queries_hear_the_same(make, operands):
    mixer = make("coordinate")
    q, k, v = operands(mixer, 9)
    q[..., 4] = q[..., 2]
    u = mixer(q, k, v, Segments((9,)))
    assert relative_error([u[..., 4]], [u[..., 2]]) <= 1e-12


def test_sharpening_finds_the_token_with_the_same_key():
    """The more powers, the closer a token comes to the value beside its own key."""
    torch.manual_seed(0)
    n, errors = 12, []
    for sharpening in (0, 4, 64):
        mixer = build_mixer(
            "coordinate",
            ChannelIrreps("4x0e + 4x1o"),
            options={"heads": 1, "max_frequency": 8.0, "sharpening": sharpening},
        ).double()
        with torch.no_grad():
            mixer.weight.zero_()
            mixer.filter.zero_()[: mixer.features.modes] = torch.arange(1.0, 17.0)[:, None, None]
            for mlp in (mixer.query_mlp, mixer.key_mlp):
                for weight in mlp.weights:
                    weight.zero_()
                # the coordinate: three times the SiLU of the first scalar
                mlp.weights[0][0, 0] = mlp.weights[0].shape[1] ** 0.5 / 1.5
                mlp.weights[1][0, 0] = 3 * mlp.weights[1].shape[1] ** 0.5 / 1.5
        k = torch.randn(4, 4, n, dtype=torch.float64)
        k[0, 0] = torch.linspace(0, 5, n)
        v = torch.randn(4, 4, n, dtype=torch.float64)
        u = mixer(k, k, v, Segments((n,))).detach()
        fitted = (u * v).sum() / u.square().sum() * u
        errors.append(((fitted - v).square().mean() / v.square().mean()).item())
    assert errors[2] < 0.5 * errors[1] < 0.5 * errors[0]


def test_the_query_meets_the_result_later(make):
    mixer = make("coordinate")
    assert mixer.companion == "q"
    assert mixer.context.per_channel == mixer.hidden.per_channel


@pytest.mark.parametrize("copies", [2, 3])
def test_copies_of_the_set_change_nothing(make, operands, copies):
    """Size consistency: means over tokens, so the same set several times gives the same."""
    mixer = make("coordinate", degree=2, sharpening=8)
    qkv = operands(mixer, 6)
    u = mixer(*qkv, Segments((6,)))
    many = mixer(*(x.repeat(1, 1, copies) for x in qkv), Segments((6 * copies,)))
    assert relative_error([many], [u.repeat(1, 1, copies)]) <= 1e-12


@pytest.mark.parametrize("options", [{}, {"degree": 2, "sharpening": 16}], ids=str)
def test_a_hundred_thousand_tokens(options):
    """Same size as for a few tokens, finite, and as accurate."""
    torch.manual_seed(0)
    mixer = build_mixer("coordinate", ChannelIrreps("2x0e + 2x1o"), options={"modes": 8, **options})
    few = torch.randn(3, 2, 4, 100)
    many = few.repeat(1, 1, 1, 1000)
    u = mixer(*few, Segments((100,))).detach()
    repeated = mixer(*many, Segments((100_000,))).detach()
    assert relative_error([repeated], [u.repeat(1, 1, 1000)]) <= 2e-5


def test_coordinates_spread_on_real_molecules():
    """At initialisation atoms of a molecule differ in every head, in both layers."""
    torch.manual_seed(0)
    net = HyenaNet("0e", irreps_hidden="16x0e + 16x1o", num_layers=2, cutoff=3.0)
    seen = []
    for layer in net.layers:
        for mlp in (layer.block.operator.mixer.query_mlp, layer.block.operator.mixer.key_mlp):
            mlp.register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    molecules = [QM9Extract("val")[i] for i in range(8)]
    for data in molecules:
        net(data.z, data.pos)
    spread = torch.stack([out[:, :8].std(0) for out in seen])
    assert spread.mean() > 0.3
    assert spread.mean() < 3
    assert (spread.view(len(molecules), -1).mean(0) > 0.05).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"modes": 0}, "modes=0"), ({"modes": -3}, "modes=-3"), ({"sharpening": -1}, "sharpening=-1")],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build_mixer("coordinate", ChannelIrreps("4x0e"), options=options)
