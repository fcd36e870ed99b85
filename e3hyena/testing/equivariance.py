"""Rotations, reflections and translations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from e3hyena.testing.arguments import (
    POINTS,
    Spec,
    Subject,
    cast,
    count_tokens,
    draw_arguments,
    read_specs,
)
from e3hyena.testing.elements import random_element
from e3hyena.testing.measure import (
    OPERATOR_TOLERANCE,
    Errors,
    Tolerance,
    relative_error,
    require_meaningful,
    require_non_scalar,
    require_ratio,
    require_small,
)


def assert_equivariant(
    module: Callable[..., Any],
    irreps_in: Spec | Sequence[Spec] = None,
    irreps_out: Spec | Sequence[Spec] = None,
    *,
    args_in: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    num_tokens: int | None = None,
    seeds: int = 5,
    tolerance: Tolerance = OPERATOR_TOLERANCE,
    reflection: bool = True,
    translation: bool = False,
    check_ratio: bool = True,
) -> Errors:
    r"""Check :math:`f(g x) = g f(x)` for random elements g of O(3) or E(3).

    For each seed, inputs and a rotation are drawn, and the rotation is tried alone and composed
    with the inversion, in float64 and float32 on copies of the module. Elements act in float64.

    Parameters
    ----------
    module : Callable
        Module or function of tensors whose first dimension counts tokens. Left as it was found.
        In a function, parameters must follow the dtype of the input.
    irreps_in, irreps_out : str or Irreps or sequence of these, optional
        One entry per positional argument, and per output: irreps, ``"cartesian_points"`` for
        positions, or None for something invariant, such as atomic numbers. Default: the module's
        own attributes of these names.
    args_in : sequence, optional
        Positional arguments; None entries are drawn: normal features of shape (num_tokens, dim),
        and positions of shape (num_tokens, 3) with about one token per unit volume.
    kwargs : mapping, optional
        Invariant keyword arguments, such as ``{"batch": batch}``.
    num_tokens : int, optional
        Default: the length of ``batch`` or of the arguments given, else 24.
    seeds : int
        Number of inputs and rotations.
    tolerance : (float, float)
        Largest error relative to the largest absolute output, in float32 and float64;
        `OPERATOR_TOLERANCE` or `NETWORK_TOLERANCE`.
    reflection : bool
        False checks SO(3) only.
    translation : bool
        Shift positions too, by a vector of their own size.
    check_ratio : bool
        Also require that the error shrinks by 1e4 from float32 to float64, as round-off does.

    Returns
    -------
    errors : Errors
        Largest relative error in each dtype.

    Raises
    ------
    AssertionError
        The output is not finite, zero, random, in another dtype, independent of the input, or not
        equivariant. The message tells the error, its tolerance, the seed and the element.
    ValueError
        The arguments do not fit together.

    Examples
    --------
    >>> from e3nn import o3
    >>> errors = assert_equivariant(o3.Linear("4x0e + 4x1o", "8x0e + 2x1o"))
    >>> errors.float64 < 1e-14
    True
    >>> assert_equivariant(lambda x: x + 1, "1o", "1o")
    Traceback (most recent call last):
    ...
    AssertionError: ... not equivariant, seed 0, rotation [[...]]: relative error ...
    """
    __tracebackhide__ = True
    specs_in = read_specs(irreps_in, module, "irreps_in")
    specs_out = read_specs(irreps_out, module, "irreps_out")
    if all(spec is None for spec in specs_in):
        raise ValueError("irreps_in holds no irreps and no positions: nothing to transform")
    if translation and POINTS not in specs_in:
        raise ValueError(f"translation=True needs an argument {POINTS!r} in irreps_in")
    kwargs = dict(kwargs or {})
    num_tokens = count_tokens(num_tokens, args_in, kwargs.get("batch"))

    def worst(dtype: torch.dtype, limit: float) -> float:
        __tracebackhide__ = True
        subject = Subject(module, dtype, kwargs)
        errors = [0.0]
        for seed in range(seeds):
            drawn = draw_arguments(specs_in, args_in, num_tokens, seed)
            drawn = [cast(cast(value, dtype), torch.float64) for value in drawn]
            outputs = subject(drawn)
            _require_dimensions(subject, outputs, specs_out)
            require_meaningful(subject, drawn, specs_in, outputs, limit, seed)
            require_non_scalar(subject, outputs, specs_out)
            scale = num_tokens ** (1 / 3) if translation else 0.0
            for inversion in (False, True) if reflection else (False,):
                g = random_element(seed, inversion=inversion, translation_scale=scale)
                moved = subject([g(x, spec) for x, spec in zip(drawn, specs_in, strict=True)])
                expected = [g(y, spec) for y, spec in zip(outputs, specs_out, strict=True)]
                error = relative_error(moved, expected)
                what = f"not equivariant, seed {seed}, {g}"
                errors.append(require_small(error, limit, subject, what))
        return max(errors)

    float64 = worst(torch.float64, tolerance[1])
    errors = Errors(worst(torch.float32, tolerance[0]), float64)
    return require_ratio(errors, module) if check_ratio else errors


def _require_dimensions(subject: Subject, outputs: Sequence[Tensor], specs: Sequence[Spec]) -> None:
    if len(outputs) != len(specs):
        raise ValueError(
            f"{subject.name} returns {len(outputs)} tensors, irreps_out has {len(specs)} entries"
        )
    for tensor, spec in zip(outputs, specs, strict=True):
        dim = None if spec is None else 3 if spec == POINTS else spec.dim  # type: ignore[union-attr]
        if dim is not None and tensor.shape[-1] != dim:
            raise AssertionError(
                f"{subject.name}: last dimension of the output is {tensor.shape[-1]}, "
                f"irreps_out {spec} has {dim}"
            )
