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
        order, node = tokens, segments.index
        while True:
            sizes = node.bincount(minlength=1)
            rank = tokens - (sizes.cumsum(0) - sizes).index_select(0, node)
            if len(pos) == 0 or int(sizes.max()) <= SIZE:
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
        node = node.unique_consecutive(return_inverse=True)[1]
        sizes = node.bincount()
        self.width = int(sizes.max()) if len(sizes) else 1
        slots = torch.arange(self.width, device=pos.device)
        last = (sizes - 1)[:, None]
        self.full = slots <= last
        self.index = order[(sizes.cumsum(0) - sizes)[:, None] + torch.minimum(slots, last)]
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
        shifts = _images(radius, cells, pos)
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


def wrapped(pos: Tensor, segments: Segments, cells: Cells) -> Tensor:
    """Positions moved into their cell; a differentiable function of both."""
    inverse = _inverse(cells, pos).index_select(0, segments.index)
    fractions = (pos.detach()[:, None] @ inverse)[:, 0]
    return pos - cells.offsets(fractions.floor(), segments.index)


def _images(radius: float, cells: Cells | None, like: Tensor) -> Tensor:
    """Lattice vectors that may bring an atom of a cell within the radius of another."""
    if cells is None:
        return torch.zeros(1, 3, dtype=torch.long, device=like.device)
    heights = _inverse(cells, like).norm(dim=1)  # one over them; zero where nothing repeats
    most = torch.where(heights > 0, (radius * heights).floor() + 1, 0).amax(dim=0).long()
    return torch.cartesian_prod(*(torch.arange(-n, n + 1, device=like.device) for n in most))


def _inverse(cells: Cells, like: Tensor) -> Tensor:
    """Of the periodic lattice vectors, ``(num_graphs, 3, 3)``: place times it is in cells."""
    vectors = torch.where(cells.pbc[:, :, None], cells.vectors.detach(), 0)
    return torch.linalg.pinv(vectors.double()).to(like)
