"""What Hypothesis draws: irreps, ragged batches, features in memory, rotations, molecules."""

from collections.abc import Callable

import torch
from e3nn import o3
from hypothesis import strategies as st
from torch import Tensor

from e3hyena.testing import Element, random_element

KINDS = ["0e", "0o", "1o", "1e", "2e", "2o", "3o"]
MIXERS = ["query_key", "filter", "coordinate", "attention", "linear_attention"]
SETS = MIXERS[2:]

dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31)


@st.composite
def irreps(draw: st.DrawFn, kinds: list[str] = KINDS, scale: int = 1, most: int = 4) -> o3.Irreps:
    """Unsorted, repeated and empty ones too; multiplicities are multiples of `scale`."""
    blocks = st.tuples(st.integers(0, 3).map(lambda mul: scale * mul), st.sampled_from(kinds))
    return o3.Irreps([(mul, o3.Irrep(ir)) for mul, ir in draw(st.lists(blocks, max_size=most))])


@st.composite
def hidden(draw: st.DrawFn) -> o3.Irreps:
    """Irreps with scalars, which every mixer can weigh tokens by."""
    channels = draw(st.sampled_from([2, 4]))
    return o3.Irreps(f"{channels}x0e") + draw(irreps(["1o", "1e", "2e", "0o"], channels, 2))


lengths = st.lists(st.sampled_from([0, 1, 2, 3, 5, 7, 8, 13, 17]), min_size=1, max_size=5)
some = lengths.filter(sum)


def batch_of(sizes: list[int]) -> Tensor:
    """Graph of every token."""
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))


def _transposed(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT if x.dim() > 1 else x


def _strided(x: Tensor) -> Tensor:
    return torch.stack([x, x + 1], dim=-1)[..., 0]


def _offset(x: Tensor) -> Tensor:
    return torch.cat([x.flatten().new_zeros(3), x.flatten()])[3:].view(x.shape)


# The same numbers, elsewhere in memory.
memory: st.SearchStrategy[Callable[[Tensor], Tensor]] = st.sampled_from(
    [torch.clone, _transposed, _strided, _offset]
)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers that float32 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype)


@st.composite
def elements(draw: st.DrawFn, shift: float = 0.0) -> Element:
    """Of E(3)."""
    return random_element(draw(seeds), inversion=draw(st.booleans()), translation_scale=shift)


@st.composite
def molecules(draw: st.DrawFn, most: int = 9) -> tuple[Tensor, Tensor]:
    """Elements, and positions no two of which are near."""
    number, seed = draw(st.integers(1, most)), draw(seeds)
    grid = torch.cartesian_prod(*[torch.arange(3.0, dtype=torch.float64)] * 3)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(grid), generator=generator)[:number]
    z = torch.tensor([1, 6, 7, 8, 9])[torch.randint(5, (number,), generator=generator)]
    return z, 1.3 * grid[chosen] + 0.2 * normal(seed, number, 3)


def shuffled_within(sizes: list[int], seed: int) -> Tensor:
    """An order of the tokens that leaves each in its graph."""
    generator = torch.Generator().manual_seed(seed)
    parts, start = [torch.zeros(0, dtype=torch.long)], 0
    for size in sizes:
        parts.append(start + torch.randperm(size, generator=generator))
        start += size
    return torch.cat(parts)
