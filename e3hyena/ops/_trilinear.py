r"""The two opaque operators everything stands on, closed under differentiation.

A tensor product of two signals, token by token or as a long convolution, is the derivative by
its third slot of one form, linear in each of

.. math:: S(w, x^{(0)}, x^{(1)}, x^{(2)}) =
          \langle x^{(2)},\; E_2^T F^{-1}\, G_w[F E_0 x^{(0)}, F E_1 x^{(1)}] \rangle .

``partial`` is the derivative by a slot, ``partial_weight`` that by the weights. The derivative of
either is made of the same two, so gradients of any order need no further kernel, and only the
operands are saved: spectra are computed again where they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.ops.backends import select
from e3hyena.ops.paths import paths_from_key
from e3hyena.ops.precision import full_precision

TOKENWISE = "tokenwise"


@torch.library.custom_op("e3hyena::partial", mutates_args=())
def partial(
    slot: int, x: Tensor, y: Tensor, weight: Tensor, key: str, boundary: str, lengths: Sequence[int]
) -> Tensor:
    """Derivative of the form by ``slot``; ``x``, ``y`` are the other two, ``(C, d, T)``.

    ``lengths`` are those of the graphs that lie one after the other; unused token by token.
    """
    paths = paths_from_key(key)
    if x.numel() == 0 or y.numel() == 0 or paths.num_paths == 0:
        return x.new_zeros(x.shape[0], paths.dims[slot], x.shape[-1])
    with full_precision(x):
        if boundary == TOKENWISE:
            return select(x).contract(paths, slot, x, y, weight)
        return select(x).convolve(paths, slot, x, y, weight, boundary, tuple(lengths))


@torch.library.custom_op("e3hyena::partial_weight", mutates_args=())
def partial_weight(
    x1: Tensor, x2: Tensor, x3: Tensor, key: str, boundary: str, lengths: Sequence[int]
) -> Tensor:
    """Derivative of the form by the weights, ``(num_paths, C)``; operands ``(C, d, T)``."""
    paths = paths_from_key(key)
    if 0 in (x1.numel(), x2.numel(), x3.numel()) or paths.num_paths == 0:
        return x1.new_zeros(paths.num_paths, x1.shape[0])
    with full_precision(x1):
        if boundary == TOKENWISE:
            return select(x1).contract_weight(paths, x1, x2, x3)
        return select(x1).convolve_weight(paths, x1, x2, x3, boundary, tuple(lengths))


@partial.register_fake
def _(
    slot: int, x: Tensor, y: Tensor, weight: Tensor, key: str, boundary: str, lengths: Sequence[int]
) -> Tensor:
    return x.new_empty(x.shape[0], paths_from_key(key).dims[slot], x.shape[-1])


@partial_weight.register_fake
def _(
    x1: Tensor, x2: Tensor, x3: Tensor, key: str, boundary: str, lengths: Sequence[int]
) -> Tensor:
    return x1.new_empty(paths_from_key(key).num_paths, x1.shape[0])


def _save_partial(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.slot, x, y, weight, *ctx.rest = inputs
    ctx.save_for_backward(x, y, weight)


def _partial_backward(ctx, grad):  # type: ignore[no-untyped-def]
    x, y, weight = ctx.saved_tensors
    first, second = (i for i in range(3) if i != ctx.slot)
    operands = {first: x, second: y, ctx.slot: grad}

    def by(slot: int) -> Tensor:
        others = [operands[i] for i in range(3) if i != slot]
        return partial(slot, *others, weight, *ctx.rest)

    return (
        None,
        by(first) if ctx.needs_input_grad[1] else None,
        by(second) if ctx.needs_input_grad[2] else None,
        partial_weight(operands[0], operands[1], operands[2], *ctx.rest)
        if ctx.needs_input_grad[3]
        else None,
        None,
        None,
        None,
    )


def _save_weight(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:3])
    ctx.rest = inputs[3:]


def _weight_backward(ctx, grad):  # type: ignore[no-untyped-def]
    operands = ctx.saved_tensors
    grads = []
    for slot in range(3):
        others = [operands[i] for i in range(3) if i != slot]
        needed = ctx.needs_input_grad[slot]
        grads.append(partial(slot, *others, grad, *ctx.rest) if needed else None)
    return (*grads, None, None, None)


partial.register_autograd(_partial_backward, setup_context=_save_partial)
partial_weight.register_autograd(_weight_backward, setup_context=_save_weight)
