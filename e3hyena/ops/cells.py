"""Periodic cells of the graphs of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from e3hyena.ops.exporting import exporting
from e3hyena.ops.segments import Segments

_FLAT = 1e-6  # of the longest lattice vector: a cell thinner than that has no volume


class Cells(NamedTuple):
    """Lattice vectors (rows), ``(num_graphs, 3, 3)``, and along which the atoms repeat, bool."""

    vectors: Tensor
    pbc: Tensor

    @classmethod
    def build(
        cls, cell: Tensor | Cells | None, pbc: Tensor | None, segments: Segments, like: Tensor
    ) -> Cells | None:
        """Check what a caller gave; None where nothing is periodic."""
        number = segments.num_graphs
        if isinstance(cell, Cells):
            return cell
        if cell is None:
            if pbc is not None and bool(pbc.any()):
                raise ValueError("pbc came without cell; give the lattice vectors, too")
            return None
        vectors = _per_graph(cell, (3, 3), number, "cell").to(like)
        flags = cell.new_ones(3) if pbc is None else pbc
        flags = _per_graph(flags, (3,), number, "pbc").to(like.device).bool()
        if exporting():
            return cls(vectors, flags)
        if not flags.any():
            return None
        found = torch.where(flags[:, :, None], vectors.detach(), 0).double()
        if not torch.isfinite(found).all():
            raise ValueError(f"cell is not finite: {found.tolist()[:2]}")
        values = torch.linalg.svdvals(found)  # those of the periodic vectors come first
        last = values.gather(1, (flags.sum(dim=1, keepdim=True) - 1).clamp(min=0))
        flat = flags.any(dim=1) & (last[:, 0] <= _FLAT * values[:, 0])
        if flat.any():
            graph = int(flat.nonzero()[0])
            raise ValueError(
                f"the periodic lattice vectors of graph {graph} are linearly dependent, or zero: "
                f"{found[graph].tolist()}; a direction that is not periodic has pbc False"
            )
        return cls(vectors, flags)

    def offsets(self, shifts: Tensor, graph: Tensor) -> Tensor:
        """How far images are from their atoms, ``(num_edges, 3)``: ``shifts @ cell``."""
        shifts = shifts.to(self.vectors)
        if not exporting() and len(self.vectors) == 1:
            return shifts @ self.vectors[0]
        return (shifts[:, None] @ self.vectors.index_select(0, graph))[:, 0]

    def wrapped(self, pos: Tensor, graph: Tensor) -> Tensor:
        """Positions moved into their cell, ``(T, 3)``; a differentiable function of both."""
        inverse = self._inverse().to(pos).index_select(0, graph)
        fractions = (pos.detach()[:, None] @ inverse)[:, 0]
        return pos - self.offsets(fractions.floor(), graph)

    def images(self, radius: float) -> Tensor:
        """Shifts that may bring a wrapped atom within the radius of another, of any graph."""
        heights = self._inverse().norm(dim=1)  # one over them; zero where nothing repeats
        most = torch.where(heights > 0, (radius * heights).floor() + 1, 0).amax(dim=0).long()
        return torch.cartesian_prod(*(torch.arange(-n, n + 1, device=n.device) for n in most))

    def _inverse(self) -> Tensor:
        """Of the periodic lattice vectors, float64: a place times it is in cells."""
        return torch.linalg.pinv(
            torch.where(self.pbc[:, :, None], self.vectors.detach(), 0).double()
        )


def _per_graph(value: Tensor, shape: tuple[int, ...], number: int, name: str) -> Tensor:
    if value.dim() == len(shape) and value.shape == shape:
        return value.expand(number, *shape)
    if not exporting() and value.shape != (number, *shape):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; wanted {(number, *shape)} for {number} "
            f"graphs, or {shape} for all"
        )
    return value
