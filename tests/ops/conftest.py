"""Irreps, back-ends and operands that the tests of all ops share."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from e3hyena.ops import Paths
from e3hyena.ops.backends import BACKENDS, native, triton, use_backend

IRREPS = {
    "empty": ("", "", ""),
    "empty_operand": ("0e + 1o", "", "1o"),
    "zero_multiplicity": ("0x3e", "0x3e", "0x3e"),
    "no_path": ("0e", "1o", "0o + 2e"),
    "scalar": ("0e", "0e", "0e"),
    "paper": ("0e + 1o", "0e + 1o", "0e + 1o + 1e"),
    "unsorted": ("2x1o + 0x3e + 0e", "2x1o + 0x3e + 0e", "1e + 2x1o + 0x3e + 0e + 2e"),
    "mixed_parity": ("0o + 1e + 1o + 0e", "1o + 2o + 0o", "2e + 1o + 0o + 0e + 1e"),
    "unequal": ("4e", "3o + 1o", "2o + 0e + 5o"),
    "lmax4": ("0e + 1o + 2e + 3o + 4e", "4e + 3o + 2e + 1o + 0e", "0e + 1o + 2e + 3o + 4e"),
}


@pytest.fixture(autouse=True)
def eager_by_default() -> Iterator[None]:
    """Random irreps would have the native back-end compile for each of them."""
    with use_backend("eager"):
        yield


def _use(name: str) -> Iterator[None]:
    if name == "native" and not native.available():
        pytest.skip("no C compiler")
    if name == "triton" and not triton.available():
        pytest.skip("no Triton")
    with use_backend(name):
        yield


# Triton's interpreter is slow; test_triton.py has what always runs.
@pytest.fixture(
    params=[pytest.param(b, marks=[pytest.mark.slow] * (b == "triton")) for b in BACKENDS]
)
def backend(request: pytest.FixtureRequest, eager_by_default: None) -> Iterator[None]:
    """Every back-end, in use."""
    yield from _use(request.param)


LONG_TO_COMPILE = {("native", "lmax4"), ("native", "unequal")}


def is_slow(both: tuple[str, str]) -> bool:
    """Whether a back-end takes long for some irreps."""
    return both[0] == "triton" or both in LONG_TO_COMPILE


@pytest.fixture(
    params=[
        pytest.param(both, id="-".join(both), marks=[pytest.mark.slow] * is_slow(both))
        for both in itertools.product(BACKENDS, IRREPS)
    ]
)
def paths(request: pytest.FixtureRequest, eager_by_default: None) -> Iterator[Paths]:
    """Every kind of irreps, with every back-end in use."""
    name, irreps = request.param
    for _ in _use(name):
        yield Paths(*IRREPS[irreps])


@pytest.fixture(params=["paper", "mixed_parity"])
def small_paths(request: pytest.FixtureRequest) -> Paths:
    """Irreps with few components, some of them vectors."""
    return Paths(*IRREPS[request.param])


def draw_operands(
    paths: Paths,
    n: int,
    *,
    lead: tuple[int, ...] = (),
    channels: int = 2,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """``x1``, ``x2`` and weight: leaves that require a gradient, rounded to float32."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(*lead, channels, d, n) for d in paths.dims[:2]] + [(paths.num_paths, channels)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


@pytest.fixture(scope="session")
def operands() -> Callable[..., list[Tensor]]:
    """The function `draw_operands`."""
    return draw_operands
