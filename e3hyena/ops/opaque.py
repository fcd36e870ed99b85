"""Opaque operators: steps that torch does not look into, registered in one way.

A back-end computes with memory, not with tensors that know their history. What torch needs to
differentiate, compile, export and batch such a step stands beside it: shapes without data, a
gradient in terms that can be differentiated again, and a rule for ``torch.func.vmap``, which takes
the members of the batch one after the other.
"""

import functools
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from e3hyena.ops.backends import chosen
from e3hyena.ops.exporting import exporting
from e3hyena.ops.precision import full_precision

Gradient: TypeAlias = Callable[..., Sequence[Tensor | None]]


def opaque(
    *, fake: Callable[..., Any], gradient: Gradient | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the operator ``e3hyena::<its name>``.

    ``fake`` gives results of the right shape without values; ``gradient(needed, grad, *operands)``,
    with one grad per result, a gradient or None per operand, ``needed`` or not.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__annotations__ = {  # torch 2.4 understands neither strings nor other sequences
            name: typing.Sequence[int] if hint == Sequence[int] else hint
            for name, hint in typing.get_type_hints(function).items()
        }
        name = f"e3hyena::{function.__name__.lstrip('_')}"
        operator = torch.library.custom_op(name, function, mutates_args=())
        operator.register_fake(fake)
        if hasattr(operator, "register_vmap"):  # from torch 2.5 on
            operator.register_vmap(one_after_the_other(operator))
        return operator if gradient is None else _differentiable(function, operator, gradient)

    return register


def _differentiable(
    function: Callable[..., Any], operator: Any, gradient: Gradient
) -> Callable[..., Any]:
    """The operator with a gradient, for autograd and for ``torch.func``, which wants its own."""

    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors = iter(ctx.saved_tensors)
        operands = [next(tensors) if kept is None else kept[0] for kept in ctx.kept]
        return tuple(gradient(ctx.needs_input_grad, *grads, *operands))

    operator.register_autograd(backward, setup_context=_save)
    rules = {
        "forward": operator,
        "setup_context": _save,
        "backward": backward,
        "vmap": one_after_the_other(operator),
    }
    methods = {name: staticmethod(rule) for name, rule in rules.items()}
    functional = type(f"{function.__name__}_function", (torch.autograd.Function,), methods)

    def call(*operands: Any) -> Any:
        if exporting() and chosen() == "eager" and not _symbolic(operands):
            return function(*operands)  # plain torch in the program
        if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
            return functional.apply(*operands)  # type: ignore[attr-defined]
        return operator(*operands)

    call.operator = operator  # type: ignore[attr-defined]
    return functools.update_wrapper(call, function)


def _symbolic(operands: Sequence[Any]) -> bool:
    """Whether lengths of graphs are symbols: no transform can be planned for them."""
    lists = (operand for operand in operands if isinstance(operand, tuple | list))
    return any(isinstance(number, torch.SymInt) for numbers in lists for number in numbers)


def paired(
    operator: Callable[..., Any],
    places: Sequence[int],
    formula: Callable[..., Any] | None = None,
    results: int = 1,
) -> Gradient:
    """A gradient from an opaque operator, by the operands at ``places``.

    It is computed from ``(grad, *operands)``, one grad for each of the ``results``; empty results
    stand for no gradient. Where it is differentiated in turn a formula in plain torch takes the
    place of an operator that has no gradient of its own.
    """

    def gradient(needed: Sequence[bool], *given: Any) -> Sequence[Tensor | None]:
        backward = formula if formula and torch.is_grad_enabled() else operator
        operands = given[results:]
        with full_precision(given[0]):
            found = backward(*given)
        found = (found,) if isinstance(found, Tensor) else found
        grads: list[Tensor | None] = [None] * len(operands)
        for place, by in zip(places, found, strict=True):
            grads[place] = by if by.shape == operands[place].shape else None
        return grads

    return gradient


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(x for x in inputs if isinstance(x, Tensor)))
    ctx.kept = [None if isinstance(x, Tensor) else (x,) for x in inputs]


def one_after_the_other(operator: Callable[..., Any]) -> Callable[..., Any]:
    """Right for any operator and any operands of the batch; it saves no time."""

    def batched(info: Any, in_dims: tuple[Any, ...], *operands: Any) -> tuple[Any, Any]:
        def member(i: int) -> list[Any]:
            pairs = zip(operands, in_dims, strict=True)
            return [x.select(dim, i) if isinstance(dim, int) else x for x, dim in pairs]

        results = [operator(*member(i)) for i in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])

    return batched
