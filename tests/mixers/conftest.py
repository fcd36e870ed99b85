"""Mixers of every kind, and operands for them."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers import Mixer, build_mixer
from e3hyena.ops.segments import Segments

IRREPS = "4x0e + 4x1o"


def make_mixer(
    name: str,
    irreps: str = IRREPS,
    boundary: str | None = None,
    dtype: torch.dtype = torch.float64,
    **options: object,
) -> Mixer:
    """A mixer whose parameters are all drawn at random, in the dtype asked for."""
    mixer = build_mixer(name, ChannelIrreps(irreps), boundary, options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return mixer.to(dtype)


def draw_operands(
    mixer: Mixer, num_tokens: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> list[Tensor]:
    """q, k and v, ``(C, d, T)``."""
    generator = torch.Generator().manual_seed(seed)
    shape = mixer.hidden.num_channels, mixer.hidden.dim, num_tokens
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(3)]


def one_graph(num_tokens: int) -> Segments:
    return Segments((num_tokens,))


def graph_by_graph(mixer: Mixer, qkv: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """Every graph alone, side by side."""
    parts = zip(*(x.split(list(lengths), dim=-1) for x in qkv), strict=True)
    alone = [mixer(*part, one_graph(part[0].shape[-1])) for part in parts]
    return torch.cat(alone, dim=-1)


@pytest.fixture(scope="session")
def make() -> Callable[..., Mixer]:
    """The function `make_mixer`."""
    return make_mixer


@pytest.fixture(scope="session")
def operands() -> Callable[..., list[Tensor]]:
    """The function `draw_operands`."""
    return draw_operands


@pytest.fixture(scope="session")
def alone() -> Callable[..., Tensor]:
    """The function `graph_by_graph`."""
    return graph_by_graph
