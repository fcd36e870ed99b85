r"""Collectives that can be differentiated any number of times.

A value is *sharded*, every process has its own, or *replicated*, all have the same; so is its
gradient. What is differentiated is the sum over the processes of what is sharded, and once what is
replicated. Between the two stand :func:`replicate` and :func:`add`, each the gradient of the other;
:func:`exchange` is its own. ``torch.distributed.nn.functional.all_reduce`` takes every result for
sharded instead: the gradient of a loss that all processes share is too large by their number.

Autograd runs nodes in the reverse order of their making, so all processes meet in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Group = dist.ProcessGroup


def replicate(group: Group, *xs: Tensor) -> tuple[Tensor, ...]:
    """Replicated values, each process to use them with what is its own; no message.

    Their gradients are summed over the processes, all in one message.
    """
    out: tuple[Tensor, ...] = _Replicate.apply(group, *xs)
    return out


def add(group: Group, *xs: Tensor) -> tuple[Tensor, ...]:
    """Sums over the processes, replicated; one message."""
    out: tuple[Tensor, ...] = _Add.apply(group, *xs)
    return out


def exchange(group: Group, x: Tensor, sends: Sequence[int], receives: Sequence[int]) -> Tensor:
    """All-to-all: ``sends[r]`` entries of x ``(n,)`` go to process r, ``receives[r]`` come back."""
    out: Tensor = _Exchange.apply(group, x, list(sends), list(receives))
    return out


class _Replicate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, group: Group, *xs: Tensor) -> tuple[Tensor, ...]:
        ctx.group = group
        return tuple(x.view_as(x) for x in xs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return None, *add(ctx.group, *grads)


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, group: Group, *xs: Tensor) -> tuple[Tensor, ...]:
        ctx.group = group
        flat = torch.cat([x.reshape(-1) for x in xs])
        dist.all_reduce(flat, group=group)
        parts = flat.split([x.numel() for x in xs])
        return tuple(part.view(x.shape).to(x.dtype) for part, x in zip(parts, xs, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return None, *replicate(ctx.group, *grads)


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, group: Group, x: Tensor, sends: Any, receives: Any) -> Tensor:
        ctx.given = group, receives, sends
        out = x.new_empty(sum(receives))
        dist.all_to_all_single(out, x.contiguous(), receives, sends, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        group, sends, receives = ctx.given
        return None, exchange(group, grad, sends, receives), None, None
