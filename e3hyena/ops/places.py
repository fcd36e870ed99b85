"""Tokens to their places among padding, and back; each is the gradient of the other."""

from typing import Any

import torch
from torch import Tensor


class Spread(torch.autograd.Function):
    """Tokens to their places, zeros at padding; the adjoint takes them back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, index: Tensor, padding: Tensor, inverse: Tensor) -> Tensor:
        return x.index_select(-1, index).masked_fill_(padding, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return Drop.apply(grad, *ctx.saved_tensors), None, None, None


class Drop(torch.autograd.Function):
    """Places to tokens; the adjoint of :class:`Spread`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, index: Tensor, padding: Tensor, inverse: Tensor) -> Tensor:
        return x.index_select(-1, inverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return Spread.apply(grad, *ctx.saved_tensors), None, None, None
