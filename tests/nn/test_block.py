"""The block: symmetric like its operator, of unit variance in any number."""

import pytest
import torch
from e3nn import o3

from e3hyena import HyenaBlock
from e3hyena.nn.block import residual
from e3hyena.testing import (
    NETWORK_TOLERANCE,
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    train_steps,
)

MIXERS = ["query_key", "filter", "coordinate", "attention", "linear_attention", None]
IRREPS = "4x0e + 4x1o + 2x1e"


@pytest.mark.parametrize("mixer", MIXERS)
def test_symmetry(mixer: str | None) -> None:
    block = HyenaBlock(IRREPS, mixer=mixer)
    options = {"tolerance": NETWORK_TOLERANCE, "seeds": 2}
    assert_equivariant(block, **options)
    assert_equivariant(perturb_parameters(block), **options)
    train_steps(block, [block.irreps_in.randn(24, -1)])
    assert_equivariant(block, **options)
    assert_batch_independent(block, sizes=(7, 0, 1, 5), seeds=1)
    if mixer not in ("query_key", "filter"):
        assert_permutation_equivariant(block, **options)


def test_order_of_a_sequence_matters() -> None:
    with pytest.raises(AssertionError, match="order of tokens"):
        assert_permutation_equivariant(HyenaBlock(IRREPS))


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("irreps", ["16x0e + 16x1o", "16x0e + 16x1o + 16x2e"])
def test_unit_variance_through_depth(mixer: str | None, irreps: str) -> None:
    """Every kind of irrep keeps its root mean square through 1, 4 and 16 blocks."""
    largest = 1.7 if mixer == "filter" else 1.25  # a long filter adds up what tokens share
    kinds = o3.Irreps(irreps)
    x = kinds.randn(2, 32, -1)
    with torch.no_grad():
        for depth in range(1, 17):
            x = HyenaBlock(kinds, mixer=mixer)(x)
            rms = [x[..., part].square().mean().sqrt().item() for part in kinds.slices()]
            if depth in (1, 4, 16):
                assert all(0.6 < value < largest for value in rms), (depth, rms)


def test_residual_keeps_variance() -> None:
    x, update = torch.randn(2, 100_000)
    y = residual(x, update)
    assert abs(y.square().mean().item() - 1) < 0.02
    assert (x * y).mean() > 0.9


@pytest.mark.parametrize("mixer", MIXERS)
def test_shapes(mixer: str | None) -> None:
    block = HyenaBlock("1o + 2x0e + 0x3e + 1o", mixer=mixer)
    x = torch.randn(2, 5, 8)
    y = block(x)
    torch.testing.assert_close(block(x.flatten(0, 1), torch.arange(10) // 5).view_as(y), y)
    ptr = torch.tensor([0, 5, 5, 10])
    torch.testing.assert_close(block(x.flatten(0, 1), ptr=ptr).view_as(y), y)
    assert block(torch.zeros(0, 8)).shape == (0, 8)
    assert HyenaBlock("", mixer=mixer)(torch.zeros(4, 0)).shape == (4, 0)


@pytest.mark.parametrize("mixer", MIXERS)
def test_finite_at_zero_input(mixer: str | None) -> None:
    block = perturb_parameters(HyenaBlock(IRREPS, mixer=mixer))
    x = torch.zeros(5, 22, requires_grad=True)
    grads = torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()])
    assert all(grad.isfinite().all() for grad in grads)


def test_options_reach_the_operator() -> None:
    block = HyenaBlock(
        "4x0e + 2x1o",
        mixer="filter",
        irreps_hidden="2x0e + 2x1o + 2x2e",
        boundary="causal",
        short_conv=3,
        mixer_options={"width": 5},
        expansion=3,
    )
    assert block.operator.irreps_hidden == o3.Irreps("2x0e + 2x1o + 2x2e")
    assert block.operator.mixer.boundary == "causal" and block.operator.mixer.width == 5
    assert block.operator.short_conv.kernel_size == 3
    assert block.feed_forward.expand.layout_out.irreps == o3.Irreps("12x0e + 12x1o")


def test_hidden_irreps_may_lack_what_the_tokens_have() -> None:
    """No warning about many paths either: the block's default has equal multiplicities."""
    assert_equivariant(HyenaBlock("7x0e + 5x1o + 2e"), tolerance=NETWORK_TOLERANCE, seeds=1)


def test_state_holds_parameters_only() -> None:
    block = HyenaBlock(IRREPS)
    assert set(block.state_dict()) == {name for name, _ in block.named_parameters()}


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"wants \(num_tokens, 22\)"):
        HyenaBlock(IRREPS)(torch.randn(5, 21))
    with pytest.raises(ValueError, match="irreps='x' does not parse"):
        HyenaBlock("x")


def test_repr_tells_irreps_mixer_and_parameters() -> None:
    block = HyenaBlock("4x0e + 4x1o", mixer="filter")
    numel = sum(p.numel() for p in block.parameters())
    assert block.extra_repr() == f"4x0e+4x1o, mixer='filter' | {numel} parameters"
    assert "mixer=None" in HyenaBlock("4x0e", mixer=None).extra_repr()
