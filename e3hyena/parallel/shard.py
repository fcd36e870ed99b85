"""The tokens of one graph that a process holds, and how it reaches the others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.segments import Segments
from e3hyena.parallel.collectives import Group, add, exchange, replicate


def shard(x: Tensor, group: Group | None = None) -> Tensor:
    """This process's rows of what all processes hold whole: an equal share, in order.

    Parameters
    ----------
    x : Tensor
        ``(num_tokens, ...)``.
    group : ProcessGroup, optional
        By default all processes.
    """
    return x.tensor_split(dist.get_world_size(group))[dist.get_rank(group)]


class Shard(Segments):
    """One graph, whose tokens lie in the processes of a group, in the order of the ranks.

    Every process must make it at the same time.

    Parameters
    ----------
    num_tokens : int
        Of this process; may be zero, and may differ.
    group : ProcessGroup
    device : torch.device
        Where the tokens are.

    Attributes
    ----------
    counts : list of int
        Tokens of every process.
    """

    halo: Halo

    def __init__(self, num_tokens: int, group: Group, device: torch.device) -> None:
        super().__init__((num_tokens,), device)
        self.group = group
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)
        mine = torch.full((self.world,), num_tokens, device=device)
        self.counts: list[int] = self.swap(mine, [1] * self.world, [1] * self.world).tolist()
        self.total = sum(self.counts)
        self.first = sum(self.counts[: self.rank])

    def swap(self, x: Tensor, sends: list[int], receives: list[int]) -> Tensor:
        """See :func:`~e3hyena.parallel.collectives.exchange`."""
        return exchange(self.group, x, sends, receives)

    def across(self, module: Callable[..., Any]) -> Callable[..., Any]:
        """A module of :mod:`e3hyena.parallel.modules`, with messages."""
        from e3hyena.parallel.modules import SHARDED

        return functools.partial(SHARDED[type(module)], module, self)

    def add(self, *xs: Tensor) -> tuple[Tensor, ...]:
        """Sums over the processes, each of which goes on with tokens of its own; one message."""
        return replicate(self.group, *add(self.group, *xs))

    def pool(self, x: Tensor, reduce: str) -> Tensor:
        """Of the whole graph, the same in every process."""
        (total,) = add(self.group, super().pool(x, "sum"))
        return total / max(self.total, 1) if reduce == "mean" else total

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the whole graph, for every token of this process."""
        (mean,) = replicate(self.group, self.pool(x, "mean"))
        return mean.expand(len(x), -1)

    def to_channels(self, x: Tensor) -> Tensor:
        """All channels of my tokens for all tokens of my channels: ``(C, d, T)`` of both."""
        d, channels = x.shape[1], self.shares(len(x))
        mine = channels[self.rank]
        sends = [share * d * x.shape[2] for share in channels]
        receives = [mine * d * count for count in self.counts]
        parts = self.swap(x.reshape(-1), sends, receives).split(receives)
        shapes = [(mine, d, count) for count in self.counts]
        return torch.cat([p.view(s) for p, s in zip(parts, shapes, strict=True)], dim=2)

    def to_tokens(self, y: Tensor, channels: int) -> Tensor:
        """The reverse of :meth:`to_channels`."""
        d, mine = y.shape[1], self.counts[self.rank]
        sends = [len(y) * d * count for count in self.counts]
        receives = [share * d * mine for share in self.shares(channels)]
        flat = torch.cat([part.reshape(-1) for part in y.split(self.counts, dim=2)])
        return self.swap(flat, sends, receives).view(channels, d, mine)

    def shares(self, channels: int) -> list[int]:
        """Channels of every process."""
        if channels < self.world:
            raise ValueError(
                f"{channels} channels cannot be shared by {self.world} processes; take hidden "
                "irreps with larger multiplicities, fewer processes, or a mixer of sets"
            )
        return [channels // self.world + (r < channels % self.world) for r in range(self.world)]

    def edges(self, pos: Tensor, cutoff: float) -> Tensor:
        """Edges to my tokens; sources beyond mine number the rows of :attr:`halo`, which is set.

        Positions of all tokens come to every process, features of the halo only. Tokens that lie
        near each other should be in one process: sort a large structure in space.
        """
        mine, sizes = len(pos), [3 * count for count in self.counts]
        everybody = pos.detach().reshape(-1).repeat(self.world)
        points = self.swap(everybody, [3 * mine] * self.world, sizes).view(-1, 3)
        inside = points.new_zeros(self.total, dtype=torch.bool)
        if mine:
            low, high = pos.detach().amin(dim=0) - cutoff, pos.detach().amax(dim=0) + cutoff
            inside = ((points >= low) & (points <= high)).all(dim=1)
            inside[self.first : self.first + mine] = False
        near = inside.nonzero().squeeze(1)
        edge_index, _ = neighbours(torch.cat([pos.detach(), points[near]]), cutoff)
        source, target = edge_index[:, edge_index[1] < mine]
        used = torch.unique(source[source >= mine])
        self.halo = Halo(self, near[used - mine])
        return torch.stack(
            [torch.where(source < mine, source, torch.searchsorted(used, source) + mine), target]
        )


class Halo:
    """Tokens of other processes that mine hear of.

    Parameters
    ----------
    whole : Shard
    wanted : Tensor
        Which, numbered through all processes, rising, ``(H,)``.
    """

    def __init__(self, whole: Shard, wanted: Tensor) -> None:
        self.swap = whole.swap
        ends = torch.tensor(whole.counts, device=wanted.device).cumsum(0)
        owner = torch.searchsorted(ends, wanted, right=True)
        asked, ones = torch.bincount(owner, minlength=whole.world), [1] * whole.world
        self.receives: list[int] = asked.tolist()
        self.sends: list[int] = self.swap(asked, ones, ones).tolist()
        self.rows = self.swap(wanted, self.receives, self.sends) - whole.first

    def fetch(self, x: Tensor) -> Tensor:
        """Features of my tokens ``(T, n)`` -> those of the halo, ``(H, n)``."""
        sends, receives = ([x.shape[1] * n for n in sizes] for sizes in (self.sends, self.receives))
        return self.swap(x.index_select(0, self.rows).reshape(-1), sends, receives).view(
            -1, x.shape[1]
        )
