"""Graphs that share a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from e3hyena.testing.arguments import Spec, Subject, draw_arguments, read_specs
from e3hyena.testing.measure import (
    Errors,
    Tolerance,
    relative_error,
    require_meaningful,
    require_small,
)

BATCH_TOLERANCE: Tolerance = (1e-5, 1e-12)


def assert_batch_independent(
    module: Callable[..., Any],
    irreps_in: Spec | Sequence[Spec] = None,
    *,
    sizes: Sequence[int] = (7, 1, 12, 5),
    args_in: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    seeds: int = 2,
    tolerance: Tolerance = BATCH_TOLERANCE,
    poison: bool = True,
) -> Errors:
    """Check that a graph in a batch gets what it gets alone, whatever its batch mates hold.

    The module is called as ``module(*args, batch=batch, **kwargs)``. Each graph is also computed
    alone, and then once more in the batch while another graph holds a NaN.

    Parameters
    ----------
    module : Callable
        Module or function of tensors whose first dimension counts tokens, with a keyword ``batch``.
        Left as it was found.
    sizes : sequence of int
        Number of tokens of each graph; zero is an empty graph.
    irreps_in, args_in, kwargs, seeds, tolerance
        As in :func:`assert_equivariant`; tensors with one row per token are split among graphs.
    poison : bool
        False leaves out the NaN, for modules that reject it.

    Returns
    -------
    errors : Errors
        Largest relative error in each dtype.

    Raises
    ------
    AssertionError
        A graph alone differs, or a NaN leaves its graph, or a NaN is lost.

    Examples
    --------
    >>> def normalise_all(x, batch):
    ...     return x / x.norm()
    >>> assert_batch_independent(normalise_all, "4x0e")
    Traceback (most recent call last):
    ...
    AssertionError: ... graph 0 alone differs from itself in the batch, seed 0: relative error ...
    """
    __tracebackhide__ = True
    specs = read_specs(irreps_in, module, "irreps_in")
    kwargs = dict(kwargs or {})
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))

    def worst(dtype: torch.dtype, limit: float) -> float:
        __tracebackhide__ = True
        subject = Subject(module, dtype, kwargs)
        errors = [0.0]
        for seed in range(seeds):
            drawn = draw_arguments(specs, args_in, len(batch), seed)
            outputs = subject(drawn, batch=batch)
            bound = Subject(module, dtype, {**kwargs, "batch": batch})
            require_meaningful(bound, drawn, specs, outputs, limit, seed)
            per_graph = [_rows(y, batch, len(sizes)) for y in outputs]
            for graph in (g for g, size in enumerate(sizes) if size > 0):
                mine = batch == graph
                alone = subject(
                    [_select(value, mine) for value in drawn],
                    batch=batch[mine] - graph,
                    **{key: _select(value, mine) for key, value in kwargs.items()},
                )
                here = [y[rows == graph] for y, rows in zip(outputs, per_graph, strict=True)]
                what = f"graph {graph} alone differs from itself in the batch, seed {seed}"
                errors.append(require_small(relative_error(alone, here), limit, subject, what))
                if poison:
                    hurt = subject(_poison(drawn, mine), batch=batch)
                    _require_contained(subject, outputs, hurt, per_graph, graph, limit)
        return max(errors)

    float64 = worst(torch.float64, tolerance[1])
    return Errors(worst(torch.float32, tolerance[0]), float64)


def _rows(output: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
    """Graph of each row of an output."""
    if len(output) == len(batch):
        return batch
    if len(output) == num_graphs:
        return torch.arange(num_graphs)
    raise ValueError(
        f"output of shape {tuple(output.shape)}: wanted {len(batch)} rows, one per token, "
        f"or {num_graphs}, one per graph"
    )


def _select(value: Any, mine: Tensor) -> Any:
    per_token = isinstance(value, Tensor) and value.dim() > 0 and len(value) == len(mine)
    return value[mine] if per_token else value


def _poison(arguments: Sequence[Any], mine: Tensor) -> list[Any]:
    """The same arguments with NaN in the middle token of one graph."""
    token = mine.nonzero()[len(mine.nonzero()) // 2]
    hurt = []
    for value in arguments:
        if isinstance(value, Tensor) and value.is_floating_point() and len(value) == len(mine):
            value = value.clone()
            value[token] = float("nan")
        hurt.append(value)
    return hurt


def _require_contained(
    subject: Subject,
    outputs: Sequence[Tensor],
    hurt: Sequence[Tensor],
    per_graph: Sequence[Tensor],
    graph: int,
    limit: float,
) -> None:
    """Raise unless the NaN is in its own graph and only there."""
    __tracebackhide__ = True
    lost = True
    for before, after, rows in zip(outputs, hurt, per_graph, strict=True):
        others = rows != graph
        what = f"a NaN in graph {graph} changes other graphs"
        require_small(relative_error([after[others]], [before[others]]), limit, subject, what)
        lost = lost and not after[rows == graph].isnan().any()
    if lost:
        raise AssertionError(
            f"{subject.name}: a NaN in graph {graph} disappears: its output is finite"
        )
