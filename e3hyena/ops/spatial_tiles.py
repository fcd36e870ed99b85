"""Tokens near each other side by side, and which of these tiles come near which."""

from __future__ import annotations

import torch
from torch import Tensor

from e3hyena.ops.cells import Cells
from e3hyena.ops.segments import Segments

SIZE = 32  # most tokens of a tile
_CHUNK = 2**21  # pairs of tiles looked at together


class SpatialTiles:
    """Boxes of up to 32 tokens: graphs are halved along their longest side until they fit.

    ``index`` ``(tiles, width)`` are the tokens, in a tile that is not full the last one again;
    ``full`` of the same shape says which are no repetition; ``place`` ``(T,)`` finds a token in the
    flattened index; ``graph`` ``(tiles,)``; ``counts`` are the tiles of every graph.

    Examples
    --------
    >>> tiles = SpatialTiles(torch.randn(40, 3), Segments((33, 7)))
    >>> tiles.full.sum(dim=1).tolist(), tiles.graph.tolist()
    ([17, 16, 7], [0, 0, 1])
    """

    def __init__(self, pos: Tensor, segments: Segments) -> None:
        pos = pos.detach()
        tokens = torch.arange(len(pos), device=pos.device)
        order, node = tokens, segments.index.unique_consecutive(return_inverse=True)[1]
        while True:
            sizes = node.bincount()
            starts = sizes.cumsum(0) - sizes
            rank = tokens - starts.index_select(0, node)
            self.width = max(sizes.tolist(), default=1)
            if self.width <= SIZE:
                break
            points = pos.index_select(0, order)
            where, empty = node[:, None].expand_as(points), points.new_zeros(len(sizes), 3)
            top, bottom = (empty.scatter_reduce(0, where, points, way, include_self=False)
                           for way in ("amax", "amin"))  # fmt: skip
            longest = (top - bottom).argmax(dim=1).index_select(0, node)
            along = points.gather(1, longest[:, None])[:, 0].argsort(stable=True)
            along = along[node[along].argsort(stable=True)]
            half = torch.where(sizes > SIZE, (sizes + 1) // 2, sizes)
            right = rank >= half.index_select(0, node)
            order = order[along]
            node = (2 * node + right).unique_consecutive(return_inverse=True)[1]
        slots = torch.arange(self.width, device=pos.device)
        last = (sizes - 1)[:, None]
        self.full = slots <= last
        self.index = order[starts[:, None] + torch.minimum(slots, last)]
        self.place = torch.empty_like(tokens).scatter(0, order, node * self.width + rank)
        self.graph = segments.index[self.index[:, 0]]
        self.counts = self.graph.bincount(minlength=segments.num_graphs)

    def near(
        self, pos: Tensor, radius: float, cells: Cells | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs of tiles whose boxes come nearer than the radius, sorted by target.

        Targets and sources ``(P,)``, and by how many lattice vectors the source is moved,
        ``(P, 3)``; positions of periodic graphs are within their cell.
        """
        points = pos.detach()[self.index]
        low, high = points.amin(dim=1), points.amax(dim=1)
        none = torch.zeros(1, 3, dtype=torch.long, device=pos.device)
        shifts = none if cells is None else cells.images(radius)
        first = (self.counts.cumsum(0) - self.counts)[self.graph]
        counts = self.counts[self.graph]
        chunk = max(1, _CHUNK // (len(shifts) * max(self.counts.tolist(), default=0) or 1))
        found = []
        for targets in torch.arange(len(low), device=pos.device).split(chunk):
            number = counts[targets]
            target = targets.repeat_interleave(number)
            start = (number.cumsum(0) - number).repeat_interleave(number)
            source = first[target] + torch.arange(len(target), device=pos.device) - start
            target, source = (x.repeat_interleave(len(shifts)) for x in (target, source))
            shift = shifts.repeat(len(start), 1)
            offset = 0 if cells is None else cells.offsets(shift, self.graph[target]).detach()
            below = low[source] + offset - high[target]
            above = low[target] - (high[source] + offset)
            gap = torch.maximum(below, above).clamp(min=0).square().sum(dim=1)
            near = (gap < radius**2).nonzero()[:, 0]
            found.append((target[near], source[near], shift[near]))
        targets, sources, moved = zip(*found, strict=True)
        return torch.cat(targets), torch.cat(sources), torch.cat(moved)
