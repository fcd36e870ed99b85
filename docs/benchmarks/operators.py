"""What studies of operators share: passes, a check of the long convolution, peak memory."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.harness.peak import added_mebibytes, in_fresh_process
from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.query_key import QueryKey
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops import Paths, naive, tensor_product_long_conv
from e3hyena.ops.backends import native
from e3hyena.ops.segments import Segments
from e3hyena.testing.measure import relative_error


def forward(module: nn.Module, *inputs: Any) -> Callable[[], None]:
    """A pass without gradients."""

    def call() -> None:
        with torch.no_grad():
            module(*inputs)

    return call


def backward(module: nn.Module, x: Tensor, *inputs: Any) -> Callable[[], None]:
    """A pass, and the gradients of all outputs' sum by the weights and `x`."""
    x = x.detach().requires_grad_()

    def call() -> None:
        module.zero_grad()
        module(x, *inputs).sum().backward()

    return call


def force(module: nn.Module, x: Tensor, *inputs: Any) -> Callable[[], None]:
    """Training on forces, which differentiates twice; attention then needs torch's plain kernel."""

    def call() -> None:
        module.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):
            pos = x.detach().requires_grad_()
            energy = module(pos, *inputs).square().sum()
            (gradient,) = torch.autograd.grad(energy, pos, create_graph=True)
            gradient.square().sum().backward()

    return call


PASSES = {"forward": forward, "forward_backward": backward}


def pass_of(kind: str, module: nn.Module, x: Tensor, *inputs: Any) -> Callable[[], None]:
    """A pass of `PASSES`, or force training, waited for where it runs."""
    call = {**PASSES, "force": force}[kind](module, x, *inputs)

    def waited() -> None:
        call()
        torch.cuda.synchronize()

    return waited if x.is_cuda else call


def crossover(mine: Mapping[int, float], theirs: Mapping[int, float]) -> int | None:
    """Least measured length from which on the first is never slower than the second.

    Examples
    --------
    >>> crossover({1: 1.0, 2: 1.0, 4: 1.0}, {1: 0.5, 2: 1.0, 4: 9.0})
    2
    """
    best = None
    for length in sorted(theirs, reverse=True):
        if mine.get(length, math.inf) > theirs[length]:
            break
        best = length
    return best


def backends() -> list[str]:
    """Those of the long convolution that run here."""
    return ["eager", *(["native"] if native.available() else [])]


def operands(
    irreps: str, length: int, paths: Paths | None = None, device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor, Paths]:
    """What a long convolution is called with; by default it gives the irreps that it takes."""
    hidden = ChannelIrreps(irreps)
    paths = paths or Paths(hidden.per_channel, hidden.per_channel, hidden.per_channel)
    q, k = torch.randn(2, hidden.num_channels, hidden.dim, length, device=device)
    return q, k, torch.randn(paths.num_paths, hidden.num_channels, device=device), paths


def check_convolution(irreps: str, length: int = 96, device: str = "cpu") -> None:
    """Refuse to report on a wrong result."""
    given = operands(irreps, length, QueryKey(ChannelIrreps(irreps)).paths, device)
    expected = naive.tensor_product_long_conv(*given)
    error = relative_error([tensor_product_long_conv(*given)], [expected])
    if not error < 1e-5:
        raise RuntimeError(
            f"the long convolution over {irreps} is off by {error:.1e}; nothing is reported"
        )


@torch.no_grad()
def check_graphs(operator: HyenaOperator, sizes: tuple[int, ...]) -> None:
    """Refuse to report where graphs in a batch differ from the graphs alone."""
    device = next(operator.parameters()).device
    x = torch.randn(sum(sizes), operator.irreps_in.dim, device=device)
    alone = torch.cat([operator(part) for part in x.split(sizes)])
    error = relative_error([operator(x, Segments(sizes, device))], [alone])
    if not error < 1e-5:
        raise RuntimeError(
            f"{operator.mixer_name}: graphs in a batch are off by {error:.1e}; nothing is reported"
        )


def peak_memory(
    irreps: str, mixer: str, length: int, *, backward: bool = False, device: str = "cpu"
) -> float:
    """Mebibytes that one pass of an operator adds to a fresh process, or to a GPU.

    Input and parameters are there before; the figure holds everything in between and the result.
    """
    if device == "cuda":
        return _added(irreps, mixer, length, backward, device)
    return in_fresh_process(_added, irreps, mixer, length, backward, device)


def _added(irreps: str, mixer: str, length: int, with_gradients: bool, device: str) -> float:
    operator = HyenaOperator(irreps, mixer=mixer).to(device)
    x = torch.randn(length, operator.irreps_in.dim, device=device)
    make = PASSES["forward_backward" if with_gradients else "forward"]
    make(operator, x[:2048])()
    added = added_mebibytes if device == "cpu" else added_on_gpu
    return added(make(operator, x))


def added_on_gpu(call: Callable[[], object]) -> float:
    """Mebibytes that a call adds to those of the GPU in use."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
