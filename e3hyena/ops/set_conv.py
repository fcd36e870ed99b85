r"""Long convolution between coordinates, graph by graph: what ``coordinate`` computes.

With features :math:`\varphi` of tokens (:func:`e3hyena.ops.features.features`) and weighted means
over a graph :math:`\langle\cdot\rangle`,

.. math::
    u_i = \langle z\,\varphi(b,k)^T \rangle\; p(\hat G)\; h\; \varphi(a_i,q_i),\qquad
    \hat G = \frac{G}{\lVert G\rVert_F},\quad
    G = \langle \varphi(b,k)\,\varphi(b,k)^T \rangle,\quad p(t) = \sum_k c_k (1-t)^k .

Where a back-end fuses it, for graphs that fit in a cache or on a chip, this is one opaque operator,
its gradient another and the gradient of that a third, all on packed tokens. Otherwise, and for
further gradients, torch differentiates :mod:`e3hyena.ops.set_conv_formula`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from e3hyena.ops.backends import BACKENDS, Backend, select
from e3hyena.ops.exporting import exporting
from e3hyena.ops.opaque import opaque
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments
from e3hyena.ops.set_conv_formula import formula

_COUNT = 9  # operands before ptr, degree and longest


def set_conv(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor,
    taps: Tensor, powers: Tensor, segments: Segments, degree: int,
) -> Tensor:  # fmt: skip
    """Convolve within every graph.

    Query coordinates ``a``, key coordinates ``b`` and positive ``weight`` are ``(H, T)``; ``q, k,
    z`` and the result ``(C, d, T)``; ``frequencies`` ``(H, M - 1)``, a further one is zero;
    ``powers`` :math:`c_k`, ``(K + 1, H)``. ``taps``, ``(2 M - 1 + degree, C, d)``, are h for every
    row: real parts of M modes, imaginary ones of those but the first, a gain per tensor power.
    """
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    if exporting():
        return formula(*operands, segments, degree)
    compiling = torch.compiler.is_compiling()  # for graphs of any length
    longest = 0 if compiling else segments.longest
    if compiling or select(q).fuses_set_conv(operands, degree, longest):
        packed: Tensor = _set_conv(*operands, segments.ptr, degree, longest)
        return packed
    return formula(*operands, segments, degree)


def _backend(operands: Sequence[Tensor], degree: int, longest: int) -> Backend | None:
    """One that fuses; a gradient may be wanted where another back-end is in use."""
    q = operands[3]
    served = [x for x in BACKENDS.values() if q.device.type in x.devices and x.available()]
    fusing = (x for x in (select(q), *served) if x.fuses_set_conv(operands, degree, longest))
    return next(fusing, None)


def _plain(ptr: Tensor, degree: int) -> Callable[..., Tensor]:
    """The formula on some graphs; where nobody fuses, it stands inside the operators, too."""
    segments = Segments(tuple(ptr.diff().tolist()), ptr.device)
    return lambda *operands: formula(*operands, segments, degree)  # type: ignore[call-arg]


def _gradients(convolve: Callable[..., Tensor], *given: Tensor) -> tuple[Tensor, ...]:
    pull: Any = torch.func.vjp(convolve, *given[1:])[1]
    found: tuple[Tensor, ...] = pull(given[0])
    return found


def _row(results: Sequence[Tensor]) -> Sequence[Tensor]:
    """With the last three, by parameters, in one row."""
    return [*results[:-3], torch.cat([x.flatten() for x in results[-3:]])]


def _by_operand(results: Sequence[Tensor], operands: Sequence[Tensor]) -> list[Tensor]:
    """With the row of the parameters taken apart."""
    parameters = operands[6:_COUNT]
    parts = results[-1].split([x.numel() for x in parameters])
    views = [part.view(x.shape) for part, x in zip(parts, parameters, strict=True)]
    return [*results[:-1], *views]


def _no_gradients(grad, *operands):  # type: ignore[no-untyped-def]
    count = sum(x.numel() for x in operands[6:_COUNT])
    return *(x.new_empty(x.shape) for x in operands[:6]), grad.new_empty(count)


def _no_tangents(*given):  # type: ignore[no-untyped-def]
    grad, *operands = given[_COUNT:]
    return grad.new_empty(grad.shape), *_no_gradients(grad, *operands)


@opaque(fake=_no_tangents)
def _set_conv_tangent(
    to_a: Tensor, to_b: Tensor, to_weight: Tensor, to_q: Tensor, to_k: Tensor, to_z: Tensor,
    to_frequencies: Tensor, to_taps: Tensor, to_powers: Tensor, grad: Tensor, a: Tensor, b: Tensor,
    weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor, taps: Tensor,
    powers: Tensor, ptr: Tensor, degree: int, longest: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Derivatives of the result and of its gradients where the operands move in a direction."""
    directions = to_a, to_b, to_weight, to_q, to_k, to_z, to_frequencies, to_taps, to_powers
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    with full_precision(q):
        backend = _backend(operands, degree, longest)
        results = (
            _row(_tangent_formula(*directions, grad, *operands, ptr, degree))
            if backend is None
            else backend.set_conv_tangent(directions, grad, operands, ptr, degree, longest)
        )
        u, first, second, third, fourth, fifth, sixth, parameters = results
        return u, first, second, third, fourth, fifth, sixth, parameters


def _tangent_formula(*given: Any) -> Sequence[Tensor]:
    """The same by torch, which can differentiate it further."""
    directions, ends = given[:_COUNT], given[_COUNT : 2 * _COUNT + 1]
    convolve = _plain(*given[2 * _COUNT + 1 : 2 * _COUNT + 3])
    pull: Any = torch.func.vjp(functools.partial(_gradients, convolve), *ends)[1]
    found: Sequence[Tensor] = pull(directions)
    return found


def _second(needed: Sequence[bool], *given: Any) -> list[Tensor | None]:
    grads, rest = given[:7], given[7:]
    operands = rest[1:]
    with full_precision(rest[0]):
        directions = _by_operand(grads, operands)
        if torch.is_grad_enabled():
            found = _tangent_formula(*directions, *rest)
        else:
            found = _by_operand(_set_conv_tangent(*directions, *rest), operands)
        return [*found, None, None, None]


@opaque(fake=_no_gradients, gradient=_second)
def _set_conv_backward(
    grad: Tensor, a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor,
    frequencies: Tensor, taps: Tensor, powers: Tensor, ptr: Tensor, degree: int, longest: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients by all operands; those by parameters in one row, as results may share no memory."""
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    with full_precision(q):
        backend = _backend(operands, degree, longest)
        results = (
            _row(_gradients(_plain(ptr, degree), grad, *operands))
            if backend is None
            else backend.set_conv_backward(grad, operands, ptr, degree, longest)
        )
        first, second, third, fourth, fifth, sixth, parameters = results
        return first, second, third, fourth, fifth, sixth, parameters


def _first(needed: Sequence[bool], grad: Tensor, *operands: Any) -> list[Tensor | None]:
    with full_precision(grad):
        found = _set_conv_backward(grad, *operands)
        return [*_by_operand(found, operands), None, None, None]


@opaque(fake=lambda a, b, weight, q, *_: q.new_empty(q.shape), gradient=_first)
def _set_conv(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor,
    taps: Tensor, powers: Tensor, ptr: Tensor, degree: int, longest: int,
) -> Tensor:  # fmt: skip
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    with full_precision(q):
        backend = _backend(operands, degree, longest)
        if backend is None:
            return _plain(ptr, degree)(*operands).clone()
        return backend.set_conv(operands, ptr, degree, longest)
