"""Whom a token hears, where a mixer has a range: pairs of tokens within a radius."""

import torch
from torch import Tensor

from e3hyena.ops.cells import Cells
from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.segments import Segments


class Window:
    r"""Pairs :math:`j \to i` of a graph with :math:`|r_i-r_j| < R`, every token's own among them.

    Pairs beyond R have no influence and are not listed: their number grows with the number of
    tokens, at fixed density. In a periodic cell every image of a token within R is a pair. Tokens j
    and i are `source` and `target`, ``(num_pairs,)``, and `square`, differentiable, their squared
    distance.
    """

    def __init__(
        self, pos: Tensor, radius: float, segments: Segments, cells: Cells | None = None
    ) -> None:
        self.radius = radius
        own = torch.arange(len(pos), device=pos.device)
        pairs, shifts = neighbours(pos, radius, segments, cell=cells)
        self.source, self.target = torch.cat([pairs, own.expand(2, -1)], dim=1)
        vector = pos.index_select(0, self.source) - pos.index_select(0, self.target)
        if cells is not None:
            offset = cells.offsets(shifts, segments.index.index_select(0, pairs[1]))
            vector = torch.cat([vector[: len(offset)] + offset, vector[len(offset) :]])
        self.square = vector.square().sum(dim=1)
