"""What surrounds a mixer is the same for every opponent."""

import pytest
import torch
from benchmarks.networks.blocks import build_block

from e3hyena.testing import NETWORK_TOLERANCE, assert_equivariant


def around(mixer: str) -> dict[str, torch.Size]:
    """Parameters of a block but those of its mixer."""
    block = build_block("4x0e + 4x1o", mixer, short_conv=3)
    return {n: p.shape for n, p in block.named_parameters() if "mixer" not in n}


def test_same_projections() -> None:
    assert around("attention") == around("cross_product_fused") == around("cross_product_dense")
    assert around("attention").keys() <= around("query_key").keys()


@pytest.mark.parametrize("mixer", ["cross_product_fused", "se3_hyena", "query_key"])
def test_equivariant(mixer: str) -> None:
    block = build_block("4x0e + 4x1o", mixer, short_conv=3)
    assert_equivariant(block, tolerance=NETWORK_TOLERANCE, seeds=2)


def test_dense_and_fused_are_one_function() -> None:
    fused = build_block("4x0e + 4x1o", "cross_product_fused", short_conv=3)
    dense = build_block("4x0e + 4x1o", "cross_product_dense", short_conv=3)
    dense.load_state_dict(fused.state_dict())
    x, batch = torch.randn(12, 16), torch.arange(12) // 6
    assert torch.allclose(dense(x, batch), fused(x, batch), atol=1e-5)


def test_options_reach_the_mixer() -> None:
    block = build_block("4x0e + 4x1o", "attention", mixer_options={"heads": 2})
    assert block.operator.mixer.heads == 2
    with pytest.raises(ValueError, match="unknown"):
        build_block("4x0e", "atention")
