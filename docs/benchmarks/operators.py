"""What studies of operators share: passes, a check of the long convolution, peak memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness.peak import added_mebibytes, in_fresh_process
from e3hyena.irreps import ChannelIrreps
from e3hyena.mixers.query_key import QueryKey
from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops import naive, tensor_product_long_conv


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


PASSES = {"forward": forward, "forward_backward": backward}


def check_convolution(irreps: str, length: int = 96) -> None:
    """Refuse to report on a wrong result.

    Raises
    ------
    RuntimeError
        If the long convolution disagrees with its plain-loop reference.
    """
    hidden = ChannelIrreps(irreps)
    paths = QueryKey(hidden).paths
    q, k = torch.randn(2, hidden.num_channels, hidden.dim, length)
    weight = torch.randn(paths.num_paths, hidden.num_channels)
    expected = naive.tensor_product_long_conv(q, k, weight, paths)
    error = (tensor_product_long_conv(q, k, weight, paths) - expected).abs().max()
    relative = (error / expected.abs().max()).item()
    if not relative < 1e-5:
        raise RuntimeError(
            f"the long convolution over {irreps} is off by {relative:.1e}; nothing is reported"
        )


def peak_memory(irreps: str, mixer: str, length: int, *, backward: bool = False) -> float:
    """Mebibytes that one pass of an operator adds to a fresh process.

    Input and parameters are there before; the figure holds everything in between and the result.
    """
    return in_fresh_process(_added, irreps, mixer, length, backward)


def _added(irreps: str, mixer: str, length: int, with_gradients: bool) -> float:
    operator = HyenaOperator(irreps, mixer=mixer)
    x = torch.randn(length, operator.irreps_in.dim)
    make = PASSES["forward_backward" if with_gradients else "forward"]
    make(operator, x[:2048])()
    return added_mebibytes(make(operator, x))
