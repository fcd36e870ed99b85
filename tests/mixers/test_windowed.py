"""Mixers of finite range against sums over all pairs, and against the mixers without range."""

import math

import pytest
import torch
from torch import Tensor

from e3hyena import HyenaOperator
from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers import MIXERS, Mixer, build_mixer
from e3hyena.mixers.windowed import Falloff
from e3hyena.ops import window as windows
from e3hyena.ops.segments import Segments
from e3hyena.ops.tensor_product import tensor_product
from e3hyena.ops.token_scalars import token_scalars
from e3hyena.ops.window import Window

HIDDEN = ChannelIrreps("4x0e + 4x1o")
SEGMENTS = Segments((9, 1, 0, 6))
RANGED = [name for name, mixer in MIXERS.items() if mixer.ranged]
OPTIONS = {
    "coordinate": [{}, {"degree": 0, "modes": 1}, {"degree": 2, "heads": 1}],
    "attention": [{}, {"heads": 1}],
    "linear_attention": [{}, {"heads": 4}],
}
CASES = [(name, options) for name in RANGED for options in OPTIONS[name]]


def build(name: str, radius: float | None, options: dict) -> Mixer:
    torch.manual_seed(3)
    mixer = build_mixer(name, HIDDEN, options={**options, "range": radius}).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return mixer


def operands() -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    qkv = [torch.randn(4, 4, 16, dtype=torch.float64, generator=generator) for _ in range(3)]
    return qkv, 1.5 * torch.randn(16, 3, dtype=torch.float64, generator=generator)


def by_pairs(mixer: Mixer, q: Tensor, k: Tensor, v: Tensor, pos: Tensor) -> Tensor:
    """The formulas, pair by pair, ``(T, T, H)`` with the receiver first."""
    square = (pos[:, None] - pos).square().sum(dim=-1)
    share = mixer.falloff(square[None])[0].permute(1, 2, 0)
    near = (square < mixer.falloff.radius**2) & (SEGMENTS.index[:, None] == SEGMENTS.index)
    share = torch.where(near[..., None], share, 0)
    q_heads, k_heads, v_heads = (x.reshape(mixer.heads, -1, 16).permute(2, 0, 1) for x in (q, k, v))
    product = torch.einsum("ihd,jhd->ijh", q_heads, k_heads)
    if type(mixer).__name__ == "LinearAttention":
        kernel = (product * q_heads.shape[2] ** -0.5)[..., None]
    elif type(mixer).__name__ == "Attention":
        kernel = torch.ones_like(product)[..., None]
        share = share * (product * q_heads.shape[2] ** -0.5).exp()
    else:
        z = (v + tensor_product(k, v, mixer.weight, mixer.paths)) * 2**-0.5
        v_heads = z.reshape(mixer.heads, -1, 16).permute(2, 0, 1)
        a = mixer.query_mlp(token_scalars(q, HIDDEN))
        b, logit = mixer.key_mlp(token_scalars(k, HIDDEN)).chunk(2)
        share = share * (logit.sigmoid() + 0.01).T
        modes, sizes = mixer.features.modes, mixer.features.sizes[3:]

        def rows(taps: Tensor) -> Tensor:
            return HIDDEN.expand(taps, dim=2).reshape(len(taps), mixer.heads, 16 // mixer.heads)

        lag = (a[:, :, None] - b[:, None]).permute(1, 2, 0)
        kernel = rows(mixer.filter[:1]) / modes
        for m in range(1, modes):
            real, imaginary = rows(mixer.filter[[m, modes - 1 + m]]) / (m + 1)
            angle = (lag * mixer.features.frequencies[:, m - 1])[..., None]
            kernel = kernel + (real * angle.cos() - imaginary * angle.sin()) / modes
        tails = [mixer.features(c[:, None], x[:, :, None])[:, 0, 2 * modes - 1 :]
                 for c, x in ((a, q), (b, k))]  # fmt: skip
        for gain, one, other in zip(rows(mixer.gain), *(t.split(sizes, dim=1) for t in tails)):  # noqa: B905
            kernel = kernel + gain * torch.einsum("hfi,hfj->ijh", one, other)[..., None]
        kernel = kernel * mixer.powers[0][:, None]
    u = (share[..., None] * kernel * v_heads).sum(dim=1) / share.sum(dim=1)[..., None]
    return u.permute(1, 2, 0).reshape(4, 4, 16)


def mixed(mixer: Mixer, q: Tensor, k: Tensor, v: Tensor, pos: Tensor) -> Tensor:
    return mixer(q, k, v, SEGMENTS.within(Window(pos, mixer.falloff.radius, SEGMENTS)))


@pytest.mark.parametrize("block", [2**17, 20])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_is_the_sum_over_pairs(
    name: str, options: dict, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward and gradients of both orders, also where pairs come in blocks."""
    monkeypatch.setattr(windows, "BLOCK", block)
    mixer, (qkv, pos) = build(name, 2.5, options), operands()
    wanted, found = ([x.clone().requires_grad_() for x in (*qkv, pos)] for _ in range(2))
    direction = torch.randn(4, 4, 16, dtype=torch.float64)
    results = []
    for function, inputs in ((by_pairs, wanted), (mixed, found)):
        y = function(mixer, *inputs)
        variables = [*inputs, *(p for p in mixer.parameters() if p.numel())]
        first = torch.autograd.grad(
            (y * direction).sum(), variables, create_graph=True, materialize_grads=True
        )
        second = torch.autograd.grad(first[3].square().sum(), inputs, materialize_grads=True)
        results.append([y, *first, *second])
    for expected, actual in zip(*results, strict=True):
        limit = 1e-10 * expected.abs().max().item() + 1e-14
        torch.testing.assert_close(actual, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("name", RANGED)
def test_a_long_range_is_none(name: str) -> None:
    options = {"sharpening": 0} if name == "coordinate" else {}
    everywhere, mixer = build(name, None, options), build(name, 1e6, options)
    with torch.no_grad():
        mixer.load_state_dict(everywhere.state_dict(), strict=False)
        mixer.falloff.log_length.fill_(math.log(1e9))
        qkv, pos = operands()
        expected = everywhere(*qkv, SEGMENTS)
        torch.testing.assert_close(mixed(mixer, *qkv, pos), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", RANGED)
def test_smooth_where_a_pair_parts(name: str) -> None:
    """Value, slope and curvature along a path on which a token leaves the window of another."""
    mixer, (qkv, pos) = build(name, 2.0, {}), operands()
    pos = pos.clone()
    pos[1] = pos[0]

    def along(t: Tensor) -> Tensor:
        moved = pos.index_add(0, torch.tensor([1]), (t * torch.eye(3)[:1]).double())
        return mixed(mixer, *qkv, moved)[..., 0].square().sum()

    values = []
    for distance in (2 - 1e-7, 2 + 1e-7):
        t = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
        y = along(t)
        (slope,) = torch.autograd.grad(y, t, create_graph=True)
        curvature = torch.autograd.grad(slope, t)[0] if slope.requires_grad else slope
        values.append([y.detach(), slope.detach(), curvature])
    for inside, outside in zip(*values, strict=True):
        torch.testing.assert_close(inside, outside, rtol=1e-5, atol=1e-5)


def test_falloff() -> None:
    falloff = Falloff(4.0, heads=3).double()
    with torch.no_grad():
        falloff.log_length.copy_(torch.tensor([1.0, 2.0, 8.0], dtype=torch.float64).log())
    r = torch.tensor([0.0, 1.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    f = falloff(r.square()[None, None])[0, :, 0].T
    expected = (1 - 9 / 16) ** 3 * math.exp(1 - math.sqrt(1 + 9 / 4))
    assert f[2, 1].item() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(f[0], torch.ones(3, dtype=torch.float64))
    assert (f[1:3, :-1] < f[1:3, 1:]).all() and not f[3:].any()
    (slope,) = torch.autograd.grad(f[2].sum(), falloff.log_length)
    assert (slope > 0).all()


def test_attention_does_not_overflow() -> None:
    """A loud token at the rim leaves the receiver its own value, not infinity over infinity."""
    mixer = build("attention", 2.0, {"heads": 1})
    (q, k, v), pos = operands()
    pos = pos.clone()
    pos[1] = pos[0] + torch.tensor([2.0 - 1e-7, 0, 0], dtype=torch.float64)
    for scale in (10.0, 1e3):
        y = mixed(mixer, scale * q, scale * k, v, pos)
        assert y.isfinite().all()
        single = mixer.float()
        y = mixed(single, *(x.float() for x in (scale * q, scale * k, v, pos)))
        assert y.isfinite().all()
        mixer = mixer.double()


@pytest.mark.parametrize("name", RANGED)
def test_without_positions(name: str) -> None:
    operator = HyenaOperator("4x0e + 4x1o", mixer=name, mixer_options={"range": 3.0})
    x, pos = torch.randn(5, 16), torch.randn(5, 3)
    with pytest.raises(ValueError, match=r"range=3\.0 and needs to know which.*HyenaNet says so"):
        operator(x)
    segments = Segments((5,))
    with pytest.raises(ValueError, match=r"range=3\.0 and needs"):
        operator(x, segments.within(Window(pos, 2.0, segments)))
    y = operator(x, segments.within(Window(pos, 3.0, segments)))
    assert y.shape == x.shape and y.isfinite().all()


@pytest.mark.parametrize("name", [name for name in MIXERS if name not in RANGED])
def test_mixers_of_sequences_have_no_range(name: str) -> None:
    message = rf"mixer='{name}' convolves along the listing.*range=5\.0 was given.*use coordinate"
    with pytest.raises(ValueError, match=message):
        build_mixer(name, HIDDEN, options={"range": 5.0})


@pytest.mark.parametrize("radius", [0.0, -1.0, float("inf"), float("nan")])
def test_bad_range(radius: float) -> None:
    with pytest.raises(ValueError, match=r"range=.* must be a positive, finite length"):
        build_mixer("coordinate", HIDDEN, options={"range": radius})


def test_parameters() -> None:
    """A range adds lengths per head; without one, nothing changes."""
    for name in RANGED:
        without, within = (set(build(name, r, {}).state_dict()) for r in (None, 3.0))
        assert within - without == {"falloff.log_length"} and without <= within
