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
from e3hyena.parallel.modules import SHARDED


def shard(x: Tensor, group: Group | None = None) -> Tensor:
    """This process's equal share of the rows of x, ``(num_tokens, ...)``, which all have whole."""
    return x.tensor_split(dist.get_world_size(group))[dist.get_rank(group)]


class Shard(Segments):
    """One graph, whose tokens lie in the processes of a group, in the order of the ranks.

    All processes make it together, each from its own number of tokens, which may be zero.
    """

    counts: list[int]  # tokens of every process
    halo: Halo  # tokens of others that mine hear of, see `edges`

    def __init__(self, num_tokens: int, group: Group, device: torch.device) -> None:
        super().__init__((num_tokens,), device)
        self.rank, self.world = dist.get_rank(group), dist.get_world_size(group)
        self.group, self.ones = group, [1] * self.world
        self.swap = functools.partial(exchange, group)
        mine = torch.full((self.world,), num_tokens, device=device)
        self.counts = self.swap(mine, self.ones, self.ones).tolist()
        self.total, self.first = sum(self.counts), sum(self.counts[: self.rank])

    def across(self, module: Callable[..., Any]) -> Callable[..., Any]:
        """A module of :mod:`e3hyena.parallel.modules`, with messages."""
        return functools.partial(SHARDED[type(module)], module, self)

    def around(self, x: Tensor) -> Tensor:
        """Rows of my tokens, and of the halo; one all-to-all."""
        return torch.cat([x, self.halo.fetch(x)])

    def add(self, *xs: Tensor) -> tuple[Tensor, ...]:
        """Sums over the processes, each of which goes on with its own tokens; one message."""
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
        """All channels of my tokens -> all tokens of my channels, ``(C, d, T)`` both."""
        d, shares = x.shape[1], self.shares(len(x))
        shapes = [(shares[self.rank], d, count) for count in self.counts]
        sends = [share * d * x.shape[2] for share in shares]
        receives = [d * shares[self.rank] * count for count in self.counts]
        parts = self.swap(x.reshape(-1), sends, receives).split(receives)
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
        """Edges to my tokens; sources beyond mine number the rows of :attr:`halo`, now known.

        Positions of all tokens come to every process, features of the halo only. It is small where
        tokens of a process are near each other: sort a large structure in space.
        """
        mine, pos = len(pos), pos.detach()
        sizes = [3 * count for count in self.counts]
        everybody = pos.reshape(-1).repeat(self.world)
        points = self.swap(everybody, [3 * mine] * self.world, sizes).view(-1, 3)
        near = points.new_zeros(0, dtype=torch.long)
        if mine:
            low, high = pos.amin(dim=0) - cutoff, pos.amax(dim=0) + cutoff
            inside = ((points >= low) & (points <= high)).all(dim=1)
            inside[self.first : self.first + mine] = False
            near = inside.nonzero().squeeze(1)
        edge_index, _ = neighbours(torch.cat([pos, points[near]]), cutoff)
        source, target = edge_index[:, edge_index[1] < mine]
        used = torch.unique(source[source >= mine])
        self.halo = Halo(self, near[used - mine])
        places = torch.searchsorted(used, source) + mine
        return torch.stack([torch.where(source < mine, source, places), target])


class Halo:
    """Tokens of other processes, numbered through all of them, rising, ``(H,)``."""

    def __init__(self, whole: Shard, wanted: Tensor) -> None:
        self.swap = whole.swap
        ends = torch.tensor(whole.counts, device=wanted.device).cumsum(0)
        owner = torch.searchsorted(ends, wanted, right=True)
        asked = torch.bincount(owner, minlength=whole.world)
        self.receives: list[int] = asked.tolist()
        self.sends: list[int] = self.swap(asked, whole.ones, whole.ones).tolist()
        self.rows = self.swap(wanted, self.receives, self.sends) - whole.first

    def fetch(self, x: Tensor) -> Tensor:
        """Features of my tokens ``(T, n)`` -> those of the halo, ``(H, n)``."""
        n = x.shape[1]
        sends, receives = ([n * count for count in part] for part in (self.sends, self.receives))
        return self.swap(x.index_select(0, self.rows).reshape(-1), sends, receives).view(-1, n)
