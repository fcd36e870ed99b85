r"""Long convolution between coordinates, graph by graph: what ``coordinate`` computes.

With features :math:`\varphi` of tokens (:func:`e3hyena.ops.features.features`) and weighted means
over a graph :math:`\langle\cdot\rangle`,

.. math::
    u_i = \langle z\,\varphi(b,k)^T \rangle\; p(\hat G)\; h\; \varphi(a_i,q_i),\qquad
    \hat G = \frac{G}{\lVert G\rVert_F},\quad
    G = \langle \varphi(b,k)\,\varphi(b,k)^T \rangle,\quad p(t) = \sum_k c_k (1-t)^k .

Where a back-end fuses it, and for graphs that fit in a cache, this is one opaque operator, its
gradient another and the gradient of that a third, all on packed tokens; or, for graphs that fit on
chip, one kernel and its gradient another. Otherwise, and for further gradients, torch
differentiates :mod:`e3hyena.ops.set_conv_formula`.
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

LARGEST = 1024  # tokens of a graph that one thread handles at a time
_COUNT = 9  # operands before ptr and degree


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
    if torch.compiler.is_compiling():  # an opaque operator needs no lengths
        traced: Tensor = _set_conv(*operands, segments.ptr, degree)
        return traced
    backend, longest = select(q), segments.longest
    if longest <= LARGEST and backend.fuses_set_conv(q, frequencies, degree):
        packed: Tensor = _set_conv(*operands, segments.ptr, degree)
        return packed
    few = len(powers) - 1, longest
    if backend.fuses_small_graphs(q, frequencies, degree, *few) and not _twice():
        small: Tensor = _Small.apply(backend, segments, degree, *operands)
        return small
    return formula(*operands, segments, degree)


def _twice() -> bool:
    """Whether kernels must have second derivatives, by the switch for those of attention."""
    return _transformed() or not torch.backends.cuda.flash_sdp_enabled()


def _transformed() -> bool:
    return torch._C._are_functorch_transforms_active()


class _Small(torch.autograd.Function):
    """Small graphs in one kernel each way; torch differentiates the formula twice."""

    @staticmethod
    def forward(
        ctx: Any, backend: Backend, segments: Segments, degree: int, *operands: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*operands)
        ctx.rest = backend, segments, degree
        with full_precision(operands[3]):
            return backend.small_set_conv(operands, segments.ptr, degree, segments.longest)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        operands, (backend, segments, degree) = ctx.saved_tensors, ctx.rest
        with full_precision(grad):
            if not (torch.is_grad_enabled() or _transformed()):
                sizes = segments.ptr, degree, segments.longest
                return None, None, None, *backend.small_set_conv_backward(grad, operands, *sizes)
            with torch.enable_grad():
                ends = [x.view_as(x) for x in operands]  # one tensor may be several operands
                u = formula(*ends, segments, degree)  # type: ignore[call-arg]
            needed = [x for x in ends if x.requires_grad]
            found = torch.autograd.grad(u, needed, grad, create_graph=True, allow_unused=True)
        gradients = dict(zip(map(id, needed), found, strict=True))
        return None, None, None, *(gradients.get(id(x)) for x in ends)


def _backend(operands: Sequence[Tensor], degree: int) -> Backend | None:
    """One that fuses; a gradient may be wanted where another back-end is in use."""
    q, frequencies = operands[3], operands[6]
    for chosen in (select(q), BACKENDS["native"]):
        if chosen.available() and chosen.fuses_set_conv(q, frequencies, degree):
            return chosen
    return None


def _plain(ptr: Tensor, degree: int) -> Callable[..., Tensor]:
    """The formula on some graphs; where nobody fuses, it stands inside the operators, too."""
    segments = Segments(tuple(ptr.diff().tolist()), ptr.device)
    return lambda *operands: formula(*operands, segments, degree)  # type: ignore[call-arg]


def _gradients(convolve: Callable[..., Tensor], *given: Tensor) -> tuple[Tensor, ...]:
    pull: Any = torch.func.vjp(convolve, *given[1:])[1]
    found: tuple[Tensor, ...] = pull(given[0])
    return found


def _no_gradients(grad, *operands):  # type: ignore[no-untyped-def]
    return tuple(x.new_empty(x.shape) for x in operands[:_COUNT])


def _no_tangents(*operands):  # type: ignore[no-untyped-def]
    return tuple(x.new_empty(x.shape) for x in operands[_COUNT : 2 * _COUNT + 1])


@opaque(fake=_no_tangents)
def _set_conv_tangent(
    to_a: Tensor, to_b: Tensor, to_weight: Tensor, to_q: Tensor, to_k: Tensor, to_z: Tensor,
    to_frequencies: Tensor, to_taps: Tensor, to_powers: Tensor, grad: Tensor, a: Tensor, b: Tensor,
    weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor, taps: Tensor,
    powers: Tensor, ptr: Tensor, degree: int,
) -> tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]:  # fmt: skip
    """Derivatives of the result and of its gradients where the operands move in a direction."""
    directions = to_a, to_b, to_weight, to_q, to_k, to_z, to_frequencies, to_taps, to_powers
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    with full_precision(q):
        backend = _backend(operands, degree)
        results = (
            _tangent_formula(*directions, grad, *operands, ptr, degree)
            if backend is None
            else backend.set_conv_tangent(directions, grad, operands, ptr, degree)
        )
        u, first, second, third, fourth, fifth, sixth, seventh, eighth, ninth = results
        return u, first, second, third, fourth, fifth, sixth, seventh, eighth, ninth


def _tangent_formula(*given: Any) -> Sequence[Tensor]:
    """The same by torch, which can differentiate it further."""
    directions, ends = given[:_COUNT], given[_COUNT : 2 * _COUNT + 1]
    convolve = _plain(*given[2 * _COUNT + 1 :])
    pull: Any = torch.func.vjp(functools.partial(_gradients, convolve), *ends)[1]
    found: Sequence[Tensor] = pull(directions)
    return found


def _second(needed: Sequence[bool], *given: Any) -> list[Tensor | None]:
    tangent = _tangent_formula if torch.is_grad_enabled() else _set_conv_tangent
    with full_precision(given[_COUNT]):
        return [*tangent(*given), None, None]


@opaque(fake=_no_gradients, gradient=_second)
def _set_conv_backward(
    grad: Tensor, a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor,
    frequencies: Tensor, taps: Tensor, powers: Tensor, ptr: Tensor, degree: int,
) -> tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]:  # fmt: skip
    """Gradients by all operands."""
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    with full_precision(q):
        backend = _backend(operands, degree)
        results = (
            _gradients(_plain(ptr, degree), grad, *operands)
            if backend is None
            else backend.set_conv_backward(grad, operands, ptr, degree)
        )
        first, second, third, fourth, fifth, sixth, seventh, eighth, ninth = results
        return first, second, third, fourth, fifth, sixth, seventh, eighth, ninth


def _first(needed: Sequence[bool], grad: Tensor, *operands: Any) -> list[Tensor | None]:
    with full_precision(grad):
        return [*_set_conv_backward(grad, *operands), None, None]


@opaque(fake=lambda a, b, weight, q, *_: q.new_empty(q.shape), gradient=_first)
def _set_conv(
    a: Tensor, b: Tensor, weight: Tensor, q: Tensor, k: Tensor, z: Tensor, frequencies: Tensor,
    taps: Tensor, powers: Tensor, ptr: Tensor, degree: int,
) -> Tensor:  # fmt: skip
    operands = a, b, weight, q, k, z, frequencies, taps, powers
    with full_precision(q):
        backend = _backend(operands, degree)
        if backend is None:
            return _plain(ptr, degree)(*operands).clone()
        return backend.set_conv(operands, ptr, degree)
