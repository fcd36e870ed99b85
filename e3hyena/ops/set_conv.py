r"""Long convolution between coordinates, graph by graph: what ``coordinate`` computes.

With features :math:`\varphi` of tokens (:func:`e3hyena.ops.features.features`) and weighted means
over a graph :math:`\langle\cdot\rangle`,

.. math::
    u_i = \langle z\,\varphi(b,k)^T \rangle\; p(\hat G)\; h\; \varphi(a_i,q_i),\qquad
    \hat G = \frac{G}{\lVert G\rVert_F},\quad
    G = \langle \varphi(b,k)\,\varphi(b,k)^T \rangle,\quad p(t) = \sum_k c_k (1-t)^k .

On the CPU, up to degree 1 and for graphs that fit in a cache, this is one opaque operator, its
gradient another and the gradient of that a third: all work on packed tokens. Otherwise, and for
gradients beyond the second, torch differentiates :mod:`e3hyena.ops.set_conv_formula`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from e3hyena.ops.backends import native, native_set_conv, select
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments
from e3hyena.ops.set_conv_formula import formula

LARGEST = 1024  # tokens of a graph that one thread handles at a time


def set_conv(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor,
    taps: Tensor, powers: Tensor, segments: Segments, degree: int,
) -> Tensor:  # fmt: skip
    """Convolve within every graph.

    Parameters
    ----------
    a, b, weight : Tensor
        Query coordinates, key coordinates and positive weights of tokens, ``(H, T)``.
    q, k, z : Tensor
        Queries, keys and values, ``(C, d, T)``.
    frequencies : Tensor
        ``(H, M - 1)``; a further one is zero.
    taps : Tensor
        h: real parts for M modes, imaginary ones for those but the first, a gain per tensor power,
        for every row, ``(2 M - 1 + degree, C, d)``.
    powers : Tensor
        :math:`c_k`, ``(K + 1, H)``.
    segments : Segments
        The graphs.
    degree : int
        Largest tensor power among the features: 0, 1 or 2.

    Returns
    -------
    Tensor
        ``(C, d, T)``.

    Examples
    --------
    >>> a, b, w, q, k, z = torch.rand(3, 4, 9).unbind() + torch.rand(3, 8, 4, 9).unbind()
    >>> parameters = torch.ones(4, 2), torch.ones(6, 8, 4), torch.ones(3, 4)
    >>> set_conv(a, b, w, q, k, z, *parameters, Segments((4, 5)), degree=1).shape
    torch.Size([8, 4, 9])
    """
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    if _opaque(q, segments, degree):
        out: Tensor = _set_conv(*operands, segments.ptr, degree)
        return out
    return formula(*operands, segments, degree)


def _opaque(x: Tensor, segments: Segments, degree: int) -> bool:
    fits = max(segments.lengths, default=0) <= LARGEST
    return fits and native_set_conv.supported(x, degree) and select(x) is native


@torch.library.custom_op("e3hyena::set_conv", mutates_args=())
def _set_conv(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor,
    taps: Tensor, powers: Tensor, ptr: Tensor, degree: int,
) -> Tensor:  # fmt: skip
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    return native_set_conv.set_conv(operands, ptr, degree)


@torch.library.custom_op("e3hyena::set_conv_backward", mutates_args=())
def _set_conv_backward(
    grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int
) -> list[Tensor]:
    """Gradients by all operands."""
    return native_set_conv.set_conv_backward(grad, operands, ptr, degree)


@torch.library.custom_op("e3hyena::set_conv_tangent", mutates_args=())
def _set_conv_tangent(
    directions: Sequence[Tensor], grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int
) -> list[Tensor]:
    """The gradient of the gradient: derivatives of result and gradients along directions."""
    return native_set_conv.set_conv_tangent(directions, grad, operands, ptr, degree)


@_set_conv.register_fake
def _(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor,
    taps: Tensor, powers: Tensor, ptr: Tensor, degree: int,
) -> Tensor:  # fmt: skip
    return q.new_empty(q.shape)


@_set_conv_backward.register_fake
def _(grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in operands]


@_set_conv_tangent.register_fake
def _(
    directions: Sequence[Tensor], grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in (grad, *operands)]


def _save(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    *operands, ptr, ctx.degree = inputs
    ctx.save_for_backward(*operands, ptr)


def _gradient(ctx, grad):  # type: ignore[no-untyped-def]
    *operands, ptr = ctx.saved_tensors
    with full_precision(grad):
        return *_set_conv_backward(grad, operands, ptr, ctx.degree), None, None


def _save_backward(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    grad, operands, ptr, ctx.degree = inputs
    ctx.save_for_backward(grad, *operands, ptr)


def _second(ctx, directions):  # type: ignore[no-untyped-def]
    grad, *operands, ptr = ctx.saved_tensors
    given = directions, grad, operands, ptr, ctx.degree
    with full_precision(grad):
        tangent = _formula_tangent if torch.is_grad_enabled() else _set_conv_tangent
        by_grad, *rest = tangent(*given)
    return by_grad, rest, None, None


def _formula_tangent(
    directions: Sequence[Tensor], grad: Tensor, operands: Sequence[Tensor], ptr: Tensor, degree: int
) -> tuple[Tensor, ...]:
    """The same by torch, which can differentiate it further."""
    segments = Segments(tuple(ptr.diff().tolist()), ptr.device)
    # views: the derivative by one operand, though others may have been made of it
    inputs = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in operands]
    by_u = grad.view_as(grad) if grad.requires_grad else grad.detach().requires_grad_()
    u = formula(*inputs, segments, degree)  # type: ignore[call-arg]
    options = {"create_graph": True, "materialize_grads": True}
    first = torch.autograd.grad(u, inputs, by_u, **options)  # type: ignore[arg-type]
    moved = sum((x * y).sum() for x, y in zip(first, directions, strict=True))
    return torch.autograd.grad(moved, [by_u, *inputs], **options)  # type: ignore[arg-type]


_set_conv.register_autograd(_gradient, setup_context=_save)
_set_conv_backward.register_autograd(_second, setup_context=_save_backward)
