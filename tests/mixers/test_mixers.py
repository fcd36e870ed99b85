"""What holds for every mixer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers import MIXERS, build_mixer
from e3hyena.ops.segments import Segments
from e3hyena.testing import random_element
from e3hyena.testing.measure import relative_error

KINDS = [
    ("query_key", "circular", {}),
    ("query_key", "causal", {}),
    ("query_key", "same", {}),
    ("filter", "circular", {}),
    ("filter", "causal", {}),
    ("filter", "same", {}),
    ("coordinate", None, {"modes": 4}),
    ("attention", None, {"heads": 2}),
    ("linear_attention", None, {"heads": 2}),
]
SET_MIXERS = ("coordinate", "attention", "linear_attention")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
IRREPS = ["4x0e + 4x1o", "2x0e + 2x0o + 4x1e + 2x1o + 2x2e", "6x0e", "4x2e"]

kinds = pytest.mark.parametrize(
    ("name", "boundary", "options"), KINDS, ids=[f"{n}-{b}" if b else n for n, b, _ in KINDS]
)
all_irreps = pytest.mark.parametrize("irreps", IRREPS)


def test_the_list_is_complete():
    assert list(MIXERS) == ["query_key", "filter", "coordinate", "attention", "linear_attention"]
    assert {name for name, _, _ in KINDS} == set(MIXERS)
    assert {name for name, mixer in MIXERS.items() if not mixer.ordered} == set(SET_MIXERS)


# --- ragged batches


@kinds
@all_irreps
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_graph_in_a_batch_is_as_alone(
    make, operands, alone, name, boundary, options, irreps, dtype
):
    lengths = (7, 0, 1, 12, 7, 2, 9, 0, 30, 7)
    mixer = make(name, irreps, boundary, dtype, **options)
    qkv = operands(mixer, sum(lengths), dtype)
    u = mixer(*qkv, Segments(lengths))
    assert u.shape == (mixer.context.num_channels, mixer.context.dim, sum(lengths))
    assert u.dtype == dtype
    expected = alone(mixer, qkv, lengths)
    start = 0
    for length in lengths:
        here = slice(start, start + length)
        assert relative_error([u[..., here]], [expected[..., here]]) <= TOLERANCE[dtype]
        start += length


@kinds
@given(lengths=st.lists(st.integers(0, 20), max_size=6), seed=st.integers(0, 9))
def test_any_batch(make, operands, alone, name, boundary, options, lengths, seed):
    mixer = make(name, boundary=boundary, **options)
    qkv = operands(mixer, sum(lengths), seed=seed)
    u = mixer(*qkv, Segments(tuple(lengths)))
    expected = alone(mixer, qkv, lengths) if lengths else torch.zeros_like(u)
    assert relative_error([u], [expected]) <= 1e-11


@kinds
@pytest.mark.parametrize("lengths", [(), (0,), (0, 0, 0)], ids=str)
def test_empty_batch(make, operands, name, boundary, options, lengths):
    mixer = make(name, boundary=boundary, **options)
    qkv = [x.requires_grad_() for x in operands(mixer, 0)]
    u = mixer(*qkv, Segments(lengths))
    assert u.shape == (mixer.context.num_channels, mixer.context.dim, 0)


@kinds
def test_one_token(make, operands, name, boundary, options):
    mixer = make(name, boundary=boundary, **options)
    qkv = operands(mixer, 3)
    u = mixer(*qkv, Segments((1, 1, 1)))
    assert u.isfinite().all()
    assert u.abs().amax(dim=(0, 1)).min() > 0
    swapped = mixer(*(x.flip(-1) for x in qkv), Segments((1, 1, 1)))
    assert relative_error([swapped.flip(-1)], [u]) <= 1e-12


@kinds
def test_nan_stays_in_its_graph(make, operands, name, boundary, options):
    lengths = (5, 3, 0, 5, 7, 1, 5)
    mixer = make(name, boundary=boundary, **options)
    segments = Segments(lengths)
    before = operands(mixer, sum(lengths))
    expected = mixer(*before, segments)
    for token in (0, 9, 15, 20):
        for operand in range(3):
            qkv = [x.clone() for x in before]
            qkv[operand][..., token] = float("nan")
            u = mixer(*qkv, segments)
            elsewhere = segments.index != segments.index[token]
            assert relative_error([u[..., elsewhere]], [expected[..., elsewhere]]) <= 1e-12
            if operand > 0 and not (name == "query_key" and operand == 2):
                assert u[..., ~elsewhere].isnan().any()


@kinds
def test_no_gradient_between_graphs(make, operands, name, boundary, options):
    lengths = (5, 3, 0, 5, 7)
    mixer = make(name, boundary=boundary, **options)
    qkv = [x.requires_grad_() for x in operands(mixer, sum(lengths))]
    segments = Segments(lengths)
    u = mixer(*qkv, segments)
    u[..., segments.index == 3].square().sum().backward()
    for x in qkv:
        if x.grad is not None:
            assert not x.grad[..., segments.index != 3].any()
    assert qkv[1].grad[..., segments.index == 3].any()


# --- symmetry


@kinds
@all_irreps
@pytest.mark.parametrize("inversion", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariant(make, operands, name, boundary, options, irreps, inversion, dtype):
    mixer = make(name, irreps, boundary, dtype, **options)
    g = random_element(3, inversion=inversion)

    def act(x, channels):
        moved = g(x.double().transpose(1, 2), channels.per_channel)
        return moved.transpose(1, 2).to(dtype)

    segments = Segments((9, 4, 0, 9, 1))
    qkv = operands(mixer, 23, dtype)
    u = mixer(*qkv, segments)
    moved = mixer(*(act(x, mixer.hidden) for x in qkv), segments)
    limit = {torch.float64: 1e-12, torch.float32: 5e-6}[dtype]
    assert relative_error([moved], [act(u, mixer.context)]) <= limit


@kinds
def test_permutations_and_order(make, operands, name, boundary, options):
    """Mixers of sets do not see the order of the tokens; the others do."""
    mixer = make(name, boundary=boundary, **options)
    segments = Segments((12, 6))
    qkv = operands(mixer, 18)
    order = torch.cat([torch.randperm(12), 12 + torch.randperm(6)])
    u = mixer(*qkv, segments)
    permuted = mixer(*(x[..., order] for x in qkv), segments)
    error = relative_error([permuted], [u[..., order]])
    assert error <= 1e-12 if name in SET_MIXERS else error > 1e-2
    assert mixer.ordered == (name not in SET_MIXERS)


@kinds
def test_tokens_meet(make, operands, name, boundary, options):
    """The last token hears of the first: a mixer is not token-wise."""
    mixer = make(name, boundary=boundary, **options)
    qkv = operands(mixer, 11)
    changed = [x.clone() for x in qkv]
    for x in changed:
        x[..., 0] += 1
    u, moved = mixer(*qkv, Segments((11,))), mixer(*changed, Segments((11,)))
    assert relative_error([moved[..., 5:]], [u[..., 5:]]) > 1e-4


# --- derivatives


def differentiable(mixer, segments, names):
    """A function of q, k, v and the parameters."""

    def function(q, k, v, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return functional_call(mixer, named, (q, k, v, segments))

    return function


@kinds
def test_gradcheck_and_gradgradcheck(make, operands, name, boundary, options):
    mixer = make(name, "2x0e + 2x1o", boundary, **options)
    parameters = {n: p.detach().requires_grad_() for n, p in mixer.named_parameters()}
    lengths = (3, 0, 1, 2)
    inputs = [x.requires_grad_() for x in operands(mixer, sum(lengths))]
    inputs += parameters.values()
    function = differentiable(mixer, Segments(lengths), list(parameters))
    assert gradcheck(function, inputs, fast_mode=boundary in ("causal", "same"))
    if name != "attention":  # the fused kernel has no double backward
        assert gradgradcheck(function, inputs, fast_mode=True)


@kinds
@all_irreps
def test_every_parameter_learns_and_gradients_at_zero_are_finite(
    make, operands, name, boundary, options, irreps
):
    mixer = make(name, irreps, boundary, **options)
    qkv = [x.requires_grad_() for x in operands(mixer, 12)]
    mixer(*qkv, Segments((8, 4))).square().sum().backward()
    for label, parameter in mixer.named_parameters():
        assert parameter.grad.isfinite().all(), label
        assert parameter.grad.any(), label
    zeros = [torch.zeros_like(x).requires_grad_() for x in operands(mixer, 12)]
    u = mixer(*zeros, Segments((8, 4)))
    gradients = torch.autograd.grad(u.sum(), zeros, allow_unused=True)
    assert all(g.isfinite().all() for g in gradients if g is not None)


# --- modules


@kinds
@pytest.mark.parametrize("irreps", ["", "0x3e"])
def test_empty_irreps(name, boundary, options, irreps):
    mixer = build_mixer(name, ChannelIrreps(irreps), boundary)
    x = torch.zeros(mixer.hidden.num_channels, 0, 5)
    u = mixer(x, x, x, Segments((3, 2)))
    assert u.shape == (mixer.context.num_channels, mixer.context.dim, 5) == (1, 0, 5)


@kinds
def test_state_is_parameters_only_and_moves_to_another_mixer(
    make, operands, name, boundary, options
):
    mixer = make(name, "4x0e + 4x1o", boundary, **options)
    other = build_mixer(name, ChannelIrreps("4x0e + 4x1o"), boundary, options).double()
    assert set(mixer.state_dict()) == {n for n, _ in mixer.named_parameters()}
    other.load_state_dict(mixer.state_dict())
    qkv = operands(mixer, 9)
    assert torch.equal(mixer(*qkv, Segments((9,))), other(*qkv, Segments((9,))))


@kinds
def test_reset_draws_new_parameters_of_the_same_kind(name, boundary, options):
    mixer = build_mixer(name, ChannelIrreps("4x0e + 4x1o"), boundary, options)
    if not list(mixer.parameters()):
        return
    before = {n: p.detach().clone() for n, p in mixer.named_parameters()}
    torch.manual_seed(1)
    mixer.reset_parameters()
    after = {n: p.detach().clone() for n, p in mixer.named_parameters()}
    assert any(not torch.equal(before[n], after[n]) for n in before)
    assert all(p.isfinite().all() for p in after.values())
    torch.manual_seed(1)
    mixer.reset_parameters()
    assert all(torch.equal(p, after[n]) for n, p in mixer.named_parameters())


@kinds
def test_two_runs_agree_bit_by_bit(make, operands, name, boundary, options):
    mixer = make(name, boundary=boundary, dtype=torch.float32, **options)
    qkv = operands(mixer, 20, torch.float32)
    segments = Segments((13, 7))
    assert torch.equal(mixer(*qkv, segments), mixer(*qkv, segments))


@kinds
def test_repr_names_the_options(name, boundary, options):
    text = repr(build_mixer(name, ChannelIrreps("4x0e + 4x1o"), boundary, options))
    wanted = [f"boundary={boundary!r}"] if boundary else []
    wanted += [f"{key}={value}" for key, value in options.items()]
    assert all(word in text for word in wanted)
    assert text.startswith(MIXERS[name].__name__)


# --- wrong use


def test_unknown_mixer():
    names = "query_key, filter, coordinate, attention, linear_attention"
    with pytest.raises(ValueError, match=rf"mixer='hyena'.*{names}"):
        build_mixer("hyena", ChannelIrreps("4x0e"))


@pytest.mark.parametrize("name", SET_MIXERS)
@pytest.mark.parametrize("boundary", ["circular", "causal", "nonsense"])
def test_boundary_for_a_mixer_of_sets(name, boundary):
    with pytest.raises(ValueError, match=f"'{name}'.*boundary='{boundary}'.*query_key, filter"):
        build_mixer(name, ChannelIrreps("4x0e"), boundary)


@pytest.mark.parametrize("name", ["query_key", "filter"])
def test_unknown_boundary(name):
    with pytest.raises(ValueError, match=r"boundary='full'.*circular, causal, same"):
        build_mixer(name, ChannelIrreps("4x0e"), "full")


@pytest.mark.parametrize("name", SET_MIXERS)
@pytest.mark.parametrize("heads", [0, -1, 3, 8])
def test_heads_that_do_not_divide_the_channels(name, heads):
    with pytest.raises(ValueError, match=rf"heads={heads} does not divide 4 .*\[1, 2, 4\]"):
        build_mixer(name, ChannelIrreps("4x0e"), options={"heads": heads})


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("typo", ["head", "boundry", "max_freq"])
def test_misspelt_options(name, typo):
    with pytest.raises(TypeError, match=typo):
        build_mixer(name, ChannelIrreps("4x0e"), options={typo: 2})


@pytest.mark.parametrize("name", SET_MIXERS)
@pytest.mark.parametrize(("channels", "largest"), [(1, 4), (6, 4), (7, 4), (12, 4), (32, 4)])
def test_heads_by_default_divide_the_channels(name, channels, largest):
    largest = largest if name == "attention" else 8
    mixer = build_mixer(name, ChannelIrreps(f"{channels}x0e"))
    divisors = [n for n in range(1, largest + 1) if channels % n == 0]
    assert mixer.heads == max(divisors)
