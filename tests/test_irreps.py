"""Irreps read as channels, and conversions between layouts."""

import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.irreps import (
    ChannelIrreps,
    TokenLayout,
    distinct_irreps,
    expand_irreps,
    parse_irreps,
)
from e3hyena.testing import random_element

any_irreps = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 3), st.sampled_from([-1, 1])), max_size=5
).map(lambda entries: o3.Irreps([(mul, (l, p)) for mul, l, p in entries]))
num_tokens = st.integers(0, 5)
CASES = ["", "0x3e", "5x0e", "64x0e + 32x1o + 32x2e", "2x1o + 0x3e + 4x0e + 1o", "4x4o + 6x0o"]


# --- reading irreps


@pytest.mark.parametrize("text", CASES)
def test_parse_accepts_what_e3nn_accepts(text):
    assert parse_irreps(text) == o3.Irreps(text)
    assert parse_irreps(o3.Irreps(text)) == o3.Irreps(text)
    assert parse_irreps(o3.Irrep("1o")) == o3.Irreps("1o")


@pytest.mark.parametrize(
    "wrong", ["3 apples", "1x", "4x1z", "1o ++ 1e", "-1x0e", 7, 1.5, None, object()]
)
def test_parse_names_the_argument(wrong):
    with pytest.raises(ValueError, match=r"irreps_hidden=.*does not parse.*32x0e \+ 32x1o"):
        parse_irreps(wrong, "irreps_hidden")


@given(irreps=any_irreps)
def test_distinct_irreps_counts_copies(irreps):
    distinct = distinct_irreps(irreps)
    kinds = [ir for _, ir in distinct]
    assert kinds == sorted(set(kinds))
    assert all(mul > 0 and mul == irreps.count(ir) for mul, ir in distinct)
    assert distinct.dim == irreps.dim


@given(irreps=any_irreps)
def test_expand_irreps_keeps_the_layout(irreps):
    expanded = expand_irreps(irreps)
    assert all(mul in (0, 1) for mul, _ in expanded)
    assert len(expanded) == sum(max(mul, 1) for mul, _ in irreps)
    assert [ir for _, ir in expanded] == [ir for mul, ir in irreps for _ in range(max(mul, 1))]
    assert expanded.dim == irreps.dim


# --- blocks by kind of irrep


@given(irreps=any_irreps, n=num_tokens)
def test_token_layout_reads_copies_in_order(irreps, n):
    x = torch.randn(n, irreps.dim)
    blocks = TokenLayout(irreps).read(x)
    copies = {str(ir): [] for mul, ir in irreps if mul}
    for (mul, ir), part in zip(irreps, irreps.slices(), strict=True):
        if mul:
            copies[str(ir)] += x[:, part].reshape(n, mul, ir.dim).unbind(1)
    assert set(blocks) == set(copies)
    for ir, block in blocks.items():
        assert torch.equal(block, torch.stack([copy.T for copy in copies[ir]]))


@given(irreps=any_irreps.filter(lambda irreps: irreps.dim > 0), n=num_tokens)
def test_token_layout_writes_what_it_reads(irreps, n):
    x = torch.randn(n, irreps.dim)
    layout = TokenLayout(irreps)
    written = layout.write(layout.read(x))
    assert torch.equal(written, x)
    assert written.is_contiguous()


# --- channels


@given(irreps=any_irreps)
def test_channels_are_the_greatest_common_divisor(irreps):
    channels = ChannelIrreps(irreps)
    multiplicities = [mul for mul, _ in distinct_irreps(irreps)]
    assert all(mul % channels.num_channels == 0 for mul in multiplicities)
    assert channels.num_channels >= 1
    divisors = range(channels.num_channels + 1, max(multiplicities, default=0) + 1)
    assert not any(all(mul % n == 0 for mul in multiplicities) for n in divisors)
    assert channels.dim == channels.per_channel.dim
    assert channels.num_channels * channels.dim == irreps.dim
    assert distinct_irreps(channels.num_channels * channels.per_channel) == channels.irreps


@pytest.mark.parametrize(
    ("irreps", "num_channels", "per_channel"),
    [
        ("64x0e + 32x1o + 32x2e", 32, "0e + 0e + 1o + 2e"),
        ("32x1o + 64x0e + 0x5e", 32, "0e + 0e + 1o"),
        ("2x0e + 3x1o", 1, "2x0e + 3x1o"),
        ("", 1, ""),
        ("0x3e", 1, ""),
    ],
)
def test_known_channels(irreps, num_channels, per_channel):
    channels = ChannelIrreps(irreps)
    assert channels.num_channels == num_channels
    assert channels.per_channel == expand_irreps(per_channel)


def test_fewer_channels_on_request():
    assert ChannelIrreps("8x0e + 4x1o", 2).per_channel == expand_irreps("4x0e + 2x1o")
    assert ChannelIrreps("", 5).num_channels == 5
    with pytest.raises(ValueError, match=r"8x0e\+4x1o cannot be split into 3 channels.*divisor 4"):
        ChannelIrreps("4x1o + 8x0e", 3)


@given(irreps=any_irreps, n=num_tokens, data=st.data())
def test_channel_layout_there_and_back(irreps, n, data):
    channels = ChannelIrreps(irreps)
    divisors = [d for d in range(1, channels.num_channels + 1) if channels.num_channels % d == 0]
    channels = ChannelIrreps(irreps, data.draw(st.sampled_from(divisors)))
    x = torch.randn(n, channels.irreps.dim)
    dense = channels.to_channels(x)
    assert dense.shape == (channels.num_channels, channels.dim, n)
    assert dense.is_contiguous()
    assert torch.equal(channels.to_tokens(dense), x)


def test_every_component_lands_where_the_channel_says():
    channels = ChannelIrreps("4x0e + 2x1o")  # 2 channels of 0e + 0e + 1o
    x = torch.arange(10.0)[None]
    assert channels.to_channels(x)[..., 0].tolist() == [[0, 1, 4, 5, 6], [2, 3, 7, 8, 9]]


@given(irreps=any_irreps, seed=st.integers(0, 9), inversion=st.booleans())
def test_a_channel_turns_as_its_irreps_say(irreps, seed, inversion):
    channels, g = ChannelIrreps(irreps), random_element(seed, inversion=inversion)
    x = torch.randn(3, channels.irreps.dim, dtype=torch.float64)
    turned_first = channels.to_channels(g(x, channels.irreps))
    dense = channels.to_channels(x).transpose(1, 2)
    turned_last = g(dense, channels.per_channel).transpose(1, 2)
    assert torch.allclose(turned_first, turned_last, rtol=0, atol=1e-13)


@given(irreps=any_irreps, n=num_tokens)
def test_blocks_of_channels_there_and_back(irreps, n):
    channels = ChannelIrreps(irreps)
    if channels.dim == 0:
        assert channels.read(torch.zeros(channels.num_channels, 0, n)) == {}
        return
    x = torch.randn(channels.num_channels, channels.dim, n)
    blocks = channels.read(x)
    shapes = {ir: tuple(block.shape) for ir, block in blocks.items()}
    assert shapes == {str(ir): (mul, ir.dim, n) for mul, ir in channels.irreps}
    assert torch.equal(channels.write(blocks), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("irreps", CASES)
def test_dtype_and_gradients_pass(irreps, dtype):
    channels = ChannelIrreps(irreps)
    x = torch.randn(4, channels.irreps.dim).to(dtype).requires_grad_()
    y = channels.to_tokens(channels.to_channels(x))
    assert y.dtype == channels.to_channels(x).dtype == dtype
    if channels.dim:
        cotangent = torch.randn(4, channels.irreps.dim).to(dtype)
        assert torch.equal(torch.autograd.grad(y, x, cotangent)[0], cotangent)


@given(irreps=any_irreps)
def test_one_number_per_copy_expands_to_its_components(irreps):
    channels = ChannelIrreps(irreps)
    copies = len(channels.per_channel)
    per_copy = torch.arange(2 * copies * 3).reshape(2, copies, 3)
    if not copies:
        assert channels.expand(per_copy, 1).shape == (2, 0, 3)
        return
    dims = torch.tensor([ir.dim for _, ir in channels.per_channel])
    assert torch.equal(channels.expand(per_copy, 1), per_copy.repeat_interleave(dims, dim=1))
    last = per_copy.transpose(1, 2)
    assert torch.equal(channels.expand(last, 2), last.repeat_interleave(dims, dim=2))
