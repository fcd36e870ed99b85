"""Whom a token hears, where a mixer has a range: the tokens within a radius."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from e3hyena.ops.cells import Cells
from e3hyena.ops.exporting import exporting
from e3hyena.ops.radius_graph import check_points
from e3hyena.ops.segments import Segments
from e3hyena.ops.spatial_tiles import SpatialTiles

BLOCK = 2**17  # pairs that are in memory at once


class Window:
    r"""Tokens :math:`j` with :math:`|r_i-r_j| < R`, for every token i of the same graph.

    Tokens near each other make a tile (:class:`~e3hyena.ops.spatial_tiles.SpatialTiles`), and a
    tile hears the tiles that come near it: what is summed over tokens is a product of dense
    matrices, whose number grows with the number of tokens, at fixed density. A token hears itself,
    and in a periodic cell every image within R.

    Parameters
    ----------
    pos : Tensor
        Positions, ``(T, 3)``, finite; differentiable to any order.
    radius : float
        R, in the unit of the positions.
    segments : Segments
        Graphs.
    cells : Cells, optional
        Periodic cells of the graphs.
    """

    def __init__(
        self, pos: Tensor, radius: float, segments: Segments, cells: Cells | None = None
    ) -> None:
        if exporting():
            raise ValueError(
                "while torch exports, neighbours cannot be listed, for nobody knows their number: "
                "leave the range of the mixer out and pass edge_index"
            )
        self.radius = check_points(pos, radius)
        self.pos = pos if cells is None else cells.wrapped(pos, segments.index)
        self.tiles = SpatialTiles(self.pos, segments)
        self._blocks = list(_blocks(self.tiles, self.pos, radius, cells))

    def sum(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """What tokens hear, ``(T, ...)``.

        ``function(target, source, square)`` of tokens ``(n, t)`` and ``(n, s)`` and their squared
        distances ``(n, t, s)`` makes ``(n, t, ...)``; a source that is padding is at distance R,
        and some are farther. Where there are several blocks, it is computed again in the backward
        pass.
        """

        def heard(block: _Block) -> Tensor:
            return function(block.target, block.source, self._square(block))

        if len(self._blocks) == 1:
            parts = [heard(self._blocks[0])]
        else:
            parts = [
                checkpoint(heard, block, use_reentrant=False, preserve_rng_state=False)
                for block in self._blocks
            ]
        return torch.cat(parts).flatten(0, 1).index_select(0, self.tiles.place)

    def _square(self, block: _Block) -> Tensor:
        target, source = (take(self.pos, tokens) for tokens in block[:2])
        if block.offset is not None:
            source = source + block.offset
        square = (target[:, :, None] - source[:, None]).square().sum(dim=-1)
        return torch.where(block.heard[:, None], square, self.radius**2)


class _Block(NamedTuple):
    """Tokens ``(n, t)`` and those that they hear, ``(n, s)``; padding is not heard."""

    target: Tensor
    source: Tensor
    heard: Tensor
    offset: Tensor | None  # of images, (n, s, 3)


def _blocks(
    tiles: SpatialTiles, pos: Tensor, radius: float, cells: Cells | None
) -> Iterator[_Block]:
    """Tiles with all that they hear, as many at once as have few enough pairs."""
    targets, sources, shifts = tiles.near(pos, radius, cells)
    heard = targets.bincount(minlength=len(tiles.index))  # by every tile, itself at least
    counts, start, pair = heard.tolist(), 0, 0
    while True:
        stop, most = start, 1
        while stop < len(counts):
            wider = max(most, counts[stop])
            if stop > start and (stop + 1 - start) * wider * tiles.width**2 > BLOCK:
                break
            stop, most = stop + 1, wider
        some = heard[start:stop]
        slots = torch.arange(most, device=pos.device)
        there = slots < some[:, None]
        listed = pair + (some.cumsum(0) - some)[:, None] + torch.where(there, slots, 0)
        offset = None
        if cells is not None:
            graph = tiles.graph[start:stop, None].expand_as(listed)
            offset = cells.offsets(shifts[listed].flatten(0, 1), graph.flatten())
            offset = offset.unflatten(0, listed.shape).repeat_interleave(tiles.width, dim=1)
        yield _Block(
            tiles.index[start:stop],
            tiles.index[sources[listed]].flatten(1),
            (tiles.full[sources[listed]] & there[:, :, None]).flatten(1),
            offset,
        )
        start, pair = stop, pair + sum(counts[start:stop])
        if start == len(counts):
            return


def take(x: Tensor, tokens: Tensor) -> Tensor:
    """``(T, ...)`` and ``(n, t)`` -> ``(n, t, ...)``."""
    return x.index_select(0, tokens.flatten()).unflatten(0, tokens.shape)
