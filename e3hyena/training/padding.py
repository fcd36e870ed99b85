"""Training batches of a few shapes, so that a step for each can be captured on a GPU."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.padded import PaddedSegments
from e3hyena.training.molecules import EvalLoader, Molecules, TrainLoader, rows_of

_RUNGS = 16  # shapes are multiples of a mean batch over this


class Padded(NamedTuple):
    """A `Batch` with its edges, and graphs of padding behind it whose labels are NaN."""

    z: Tensor
    pos: Tensor
    graph: Tensor
    label: Tensor
    force: Tensor | None
    edges: Tensor | None
    longest: int

    @property
    def batch(self) -> Any:
        """The graphs, as a network takes them."""
        return PaddedSegments(self.graph, len(self.label), self.longest)

    @property
    def cell(self) -> None:
        """Molecules have none."""

    @property
    def stress(self) -> None:
        """Nor that."""

    @property
    def lattice(self) -> dict[str, Any]:
        """Further arguments of a network."""
        return {} if self.edges is None else {"edge_index": self.edges}


class PaddedLoader(TrainLoader):
    """The batches of `TrainLoader`, padded: atoms and edges to multiples of what a batch has.

    Edges are found once. The number of graphs is always the same; those of padding have between
    one atom and as many as the largest molecule, all hydrogen at the origin.
    """

    def __init__(
        self, molecules: Molecules, batch_size: int, seed: int, cutoff: float | None
    ) -> None:
        super().__init__(molecules, batch_size, seed)
        full = min(batch_size, molecules.num_graphs)
        share = full / molecules.num_graphs / _RUNGS
        self.longest = max(2, int(molecules.ptr.diff().max()))
        self.atoms = max(1, round(share * len(molecules.z)))
        self.graphs = full + (self.atoms - 1) // (self.longest - 1) + 1
        self.edges: Tensor | None = None
        if cutoff is not None:
            found, start = [], 0
            for part in EvalLoader(molecules, 4096):
                found.append(neighbours(part.pos, cutoff, part.batch)[0] + start)
                start += len(part.z)
            edges = torch.cat(found, dim=1)
            graph = molecules.batch[edges[1]]
            self.edges = edges - molecules.ptr[graph]  # within its molecule
            counts = torch.bincount(graph, minlength=molecules.num_graphs)
            self.edge_ptr = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
            self.edge_step = max(1, round(share * len(graph)))

    def batch(self, graphs: Tensor) -> Padded:  # type: ignore[override]
        """The molecules numbered `graphs`, padded."""
        part = self.molecules.select(graphs)
        atoms, extra = len(part.z), self.graphs - len(graphs)
        spare = extra + -(atoms + extra) % self.atoms
        places = torch.arange(spare, device="cpu")
        force, edges = part.force, None
        if force is not None:
            force = _longer(force, spare, torch.nan)
        if self.edges is not None:
            rows, owner = rows_of(self.edge_ptr, graphs)
            counts = self.molecules.ptr.diff()[graphs]
            first = (counts.cumsum(0) - counts)[owner]
            more = torch.arange(-len(rows) % self.edge_step, device="cpu") % spare + atoms
            edges = self.edges.index_select(1, rows) + first
            edges = torch.cat([edges, more.expand(2, -1)], dim=1)
        return Padded(
            _longer(part.z, spare, 1),
            _longer(part.pos, spare, 0.0),
            torch.cat([part.batch, len(graphs) + places * extra // spare]),
            _longer(part.label, extra, torch.nan),
            force,
            edges,
            self.longest,
        )


def _longer(x: Tensor, rows: int, value: float) -> Tensor:
    return torch.cat([x, x.new_full((rows, *x.shape[1:]), value)])
