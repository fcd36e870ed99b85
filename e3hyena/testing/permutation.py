"""The order of tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from e3hyena.testing.arguments import Spec, Subject, count_tokens, draw_arguments, read_specs
from e3hyena.testing.measure import (
    OPERATOR_TOLERANCE,
    Errors,
    Tolerance,
    relative_error,
    require_meaningful,
    require_ratio,
    require_small,
)


def assert_permutation_equivariant(
    module: Callable[..., Any],
    irreps_in: Spec | Sequence[Spec] = None,
    *,
    args_in: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    num_tokens: int | None = None,
    seeds: int = 5,
    tolerance: Tolerance = OPERATOR_TOLERANCE,
    check_ratio: bool = True,
) -> Errors:
    r"""Check that re-listing the tokens re-lists the output: :math:`f(P x) = P f(x)`.

    Outputs with one row per token are re-listed; others, one row per graph, must not change.

    Parameters
    ----------
    module, irreps_in, args_in, num_tokens, seeds, tolerance, check_ratio
        As in :func:`assert_equivariant`.
    kwargs : mapping, optional
        Keyword arguments. With a sorted ``batch`` tokens are re-listed within their graphs; other
        tensors with one row per token are re-listed too.

    Returns
    -------
    errors : Errors
        Largest relative error in each dtype; raises as :func:`assert_equivariant`.

    Examples
    --------
    >>> def centred(x):
    ...     return x - x.mean(dim=0)
    >>> assert_permutation_equivariant(centred, "4x0e").float64 < 1e-14
    True
    >>> assert_permutation_equivariant(lambda x: x.cumsum(dim=0), "4x0e")
    Traceback (most recent call last):
    ...
    AssertionError: ... depends on the order of tokens, seed 0: relative error ...
    """
    __tracebackhide__ = True
    specs = read_specs(irreps_in, module, "irreps_in")
    kwargs = dict(kwargs or {})
    batch = kwargs.get("batch")
    num_tokens = count_tokens(num_tokens, args_in, batch)

    def relist(value: Any, order: Tensor) -> Any:
        per_token = isinstance(value, Tensor) and value.dim() > 0 and len(value) == num_tokens
        return value[order] if per_token else value

    def worst(dtype: torch.dtype, limit: float) -> float:
        __tracebackhide__ = True
        subject = Subject(module, dtype, kwargs)
        errors = [0.0]
        for seed in range(seeds):
            drawn = draw_arguments(specs, args_in, num_tokens, seed)
            outputs = subject(drawn)
            require_meaningful(subject, drawn, specs, outputs, limit, seed)
            order = random_order(num_tokens, batch, seed)
            moved = subject(
                [relist(value, order) for value in drawn],
                **{key: relist(value, order) for key, value in kwargs.items()},
            )
            error = relative_error(moved, [relist(y, order) for y in outputs])
            what = f"depends on the order of tokens, seed {seed}"
            errors.append(require_small(error, limit, subject, what))
        return max(errors)

    float64 = worst(torch.float64, tolerance[1])
    errors = Errors(worst(torch.float32, tolerance[0]), float64)
    return require_ratio(errors, module) if check_ratio else errors


def random_order(num_tokens: int, batch: Tensor | None, seed: int) -> Tensor:
    """Indices (num_tokens,) that shuffle tokens, within their graphs if ``batch`` is given."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_tokens, generator=generator)
    return order if batch is None else order[torch.argsort(batch[order], stable=True)]
