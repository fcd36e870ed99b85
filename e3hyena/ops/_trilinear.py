r"""The two opaque operators everything stands on, closed under differentiation.

A tensor product of two signals, token by token or as a long convolution, is the derivative by
its third slot of one form, linear in each of

.. math:: S(w, x^{(0)}, x^{(1)}, x^{(2)}) =
          \langle x^{(2)},\; E_2^T F^{-1}\, G_w[F E_0 x^{(0)}, F E_1 x^{(1)}] \rangle .

``partial`` is the derivative by a slot, ``partial_weight`` that by the weights. The derivative of
either is made of the same two, so gradients of any order need no further kernel, and only the
operands are saved: spectra are computed again where they are needed.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from e3hyena.ops.backends import select
from e3hyena.ops.opaque import opaque
from e3hyena.ops.paths import paths_from_key
from e3hyena.ops.precision import full_precision

TOKENWISE = "tokenwise"


def _by_operands(
    needed: Sequence[bool], grad: Tensor, slot: int, x: Tensor, y: Tensor, weight: Tensor,
    *rest: Any,
) -> Sequence[Tensor | None]:  # fmt: skip
    """Gradient of ``partial``."""
    first, second = (i for i in range(3) if i != slot)
    operands = {first: x, second: y, slot: grad}

    def by(place: int) -> Tensor:
        others = [operands[i] for i in range(3) if i != place]
        return partial(place, *others, weight, *rest)

    return (
        None,
        by(first) if needed[1] else None,
        by(second) if needed[2] else None,
        partial_weight(*(operands[i] for i in range(3)), *rest) if needed[3] else None,
        *(None for _ in rest),
    )


@opaque(
    fake=lambda slot, x, y, weight, key, *_: x.new_empty(
        x.shape[0], paths_from_key(key).dims[slot], x.shape[-1]
    ),
    gradient=_by_operands,
)
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


def _by_signals(
    needed: Sequence[bool], grad: Tensor, x1: Tensor, x2: Tensor, x3: Tensor, *rest: Any
) -> Sequence[Tensor | None]:
    """Gradient of ``partial_weight``."""
    signals, grads = (x1, x2, x3), []
    for slot in range(3):
        others = [signals[i] for i in range(3) if i != slot]
        grads.append(partial(slot, *others, grad, *rest) if needed[slot] else None)
    return (*grads, *(None for _ in rest))


@opaque(
    fake=lambda x1, x2, x3, key, *_: x1.new_empty(paths_from_key(key).num_paths, x1.shape[0]),
    gradient=_by_signals,
)
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
