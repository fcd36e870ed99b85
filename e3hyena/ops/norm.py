"""Root-mean-square norm of the rows of features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from e3hyena.ops.backends import select
from e3hyena.ops.backends.eager import rows


def norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    r"""Divide every token by its weighted root mean square, then scale every component.

    .. math:: y_{rt} = s_r\, x_{rt} \Big/ \sqrt{\textstyle\sum_{\rho} w_\rho x_{\rho t}^2 +
              \varepsilon}

    Parameters
    ----------
    x : Tensor
        Components by tokens, ``(R, T)``, of any strides.
    weight : Tensor
        Weights of the squares, ``(R,)``; constants.
    scale : Tensor
        ``(R,)``.
    eps : float
        Added to the mean square.

    Examples
    --------
    >>> norm(torch.tensor([[3.0], [4.0]]), torch.ones(2), torch.tensor([1.0, 2.0]), 0.0)
    tensor([[0.6000],
            [1.6000]])
    """
    out: Tensor = _norm(x, weight, scale, eps)
    return out


@torch.library.custom_op("e3hyena::norm", mutates_args=())
def _norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    out: Tensor = select(x).norm(x, weight, scale, eps)
    return out.contiguous()


@torch.library.custom_op("e3hyena::norm_backward", mutates_args=())
def _norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    by_x, by_scale = select(x).norm_backward(grad, x, weight, scale, eps)
    return by_x.contiguous(), by_scale


@_norm.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape)


@_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), scale.new_empty(scale.shape)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    x, weight, scale, ctx.eps = inputs
    ctx.save_for_backward(x, weight, scale)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
    x, weight, scale = ctx.saved_tensors
    backward = rows.norm_backward if torch.is_grad_enabled() else _norm_backward
    by_x, by_scale = backward(grad, x, weight, scale, ctx.eps)
    return by_x, None, by_scale, None


_norm.register_autograd(_gradient, setup_context=_save)
