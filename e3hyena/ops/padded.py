"""Graphs whose sizes are tensors: what is computed has the same shapes whatever they are."""

from __future__ import annotations

import torch
from torch import Tensor

from e3hyena.ops.segments import DenseGroup, DenseGroups, Segments, computed_once


class PaddedSegments(Segments):
    """Graphs of one to `longest` tokens, of which the host knows no more than their number.

    Nothing is read back, so that a pass can be captured in a CUDA graph and replayed for other
    graphs. For mixers of sets without range.

    Parameters
    ----------
    index : Tensor
        Graph of every token, ``(num_tokens,)``, sorted; none is empty.
    num_graphs, longest : int
        Number of graphs, and most tokens of one.

    Examples
    --------
    >>> segments = PaddedSegments(torch.tensor([0, 0, 1]), num_graphs=2, longest=3)
    >>> segments.sizes.tolist(), [x.shape for x in segments.similar.gather(torch.rand(4, 1, 3))]
    ([2, 1], [torch.Size([4, 1, 2, 3])])
    """

    def __init__(self, index: Tensor, num_graphs: int, longest: int) -> None:
        self.index, self.num_graphs, self.longest = index, num_graphs, longest
        self.device = index.device
        ones = torch.ones_like(index)
        self.sizes = index.new_zeros(num_graphs).index_add(0, index, ones)

    @property
    def lengths(self) -> tuple[int, ...]:  # type: ignore[override]
        """Unknown here."""
        raise ValueError(
            "sizes of padded graphs are not known on the host: take mixer 'coordinate', "
            "'attention', 'linear_attention' or none, without range and short_conv"
        )

    @computed_once
    def similar(self) -> DenseGroups:
        """All graphs as one dense group."""
        return _OneGroup(self)


class _OneGroup(DenseGroups):
    def __init__(self, segments: PaddedSegments) -> None:
        self.segments, self._trivial = segments, False
        number, size = segments.num_graphs, segments.longest
        self.groups = [DenseGroup((), size, tuple(range(number)))]
        place = segments.index * size + segments.position
        token = place.new_full((number * size,), -1)
        token = token.scatter(0, place, torch.arange(len(place), device=place.device))
        self._indices = token.clamp(min=0), token < 0, place
        self.masks = [(token >= 0).view(number, size)]
        self.sizes = [segments.sizes]
