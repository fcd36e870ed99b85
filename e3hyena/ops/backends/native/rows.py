"""Factors on rows of features in C: one pass over them, and one for the gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.ops.backends.native.build import call, rows
from e3hyena.ops.backends.native.c_files import c_file

_BLOCK = 512  # tokens; of a sum over tokens there is one share per block
_SOURCE = c_file("rows.c", BLOCK=_BLOCK)


def scale(x: Tensor, factors: Tensor, widths: Sequence[int], gain: float) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.scale`."""
    out = x.new_empty(x.shape)
    call(_SOURCE, "scale", *rows(x), *rows(factors), *_copies(widths), out, *x.shape, gain)
    return out


def scale_backward(
    grad: Tensor, x: Tensor, factors: Tensor, widths: Sequence[int], gain: float
) -> tuple[Tensor, Tensor]:
    """See :meth:`e3hyena.ops.backends.base.Backend.scale_backward`."""
    by_x, by_factors = x.new_empty(x.shape), factors.new_empty(factors.shape)
    operands = grad.contiguous(), *rows(x), *rows(factors), *_copies(widths), by_x, by_factors
    call(_SOURCE, "scale_back", *operands, *x.shape, gain)
    return by_x, by_factors


def norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    """See :meth:`e3hyena.ops.backends.base.Backend.norm`."""
    out = x.new_empty(x.shape)
    call(_SOURCE, "norm", *_rows(x), weight, scale.contiguous(), eps, out, *x.shape)
    return out


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """See :meth:`e3hyena.ops.backends.base.Backend.norm_backward`."""
    by_x = x.new_empty(x.shape)
    by_scale = x.new_empty(-(-x.shape[1] // _BLOCK), x.shape[0])
    operands = grad.contiguous(), *_rows(x), weight, scale.contiguous(), eps, by_x, by_scale
    call(_SOURCE, "norm_back", *operands, *x.shape)
    return by_x, by_scale.sum(dim=0)


def _copies(widths: Sequence[int]) -> tuple[Tensor, int]:
    return torch.tensor(widths), len(widths)


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """``(R, T)`` with contiguous tokens, and the stride of a row."""
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x, x.stride(0)
