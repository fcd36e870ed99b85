"""What datasets of energies and forces share: storage, statistics."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import Data, InMemoryDataset

from e3hyena.data.centring import centred


class Frames(NamedTuple):
    """Molecules as flat arrays.

    counts (num_graphs,), z (num_nodes,), pos (num_nodes, 3) in Angstrom, energy (num_graphs,),
    force (num_nodes, 3), name: a title of every molecule, or nothing, cell (num_graphs, 3, 3) and
    pbc (num_graphs, 3), or None for molecules, stress (num_graphs, 3, 3), NaN where there is none.
    """

    counts: np.ndarray
    z: np.ndarray
    pos: np.ndarray
    energy: np.ndarray
    force: np.ndarray
    name: Sequence[str] = ()
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    stress: np.ndarray | None = None


def collate(frames: Frames) -> tuple[Data, dict[str, torch.Tensor]]:
    """The same in PyG's collated form; energies stay float64, for totals are large.

    Positions are about the mean of their molecule.
    """
    nodes = torch.from_numpy(np.concatenate([[0], np.cumsum(frames.counts, dtype=np.int64)]))
    graphs = torch.arange(len(frames.counts) + 1, device="cpu")
    data = Data(
        z=torch.from_numpy(frames.z.astype(np.int64)),
        pos=torch.from_numpy(centred(frames.pos, frames.counts).astype(np.float32)),
        energy=torch.from_numpy(frames.energy.astype(np.float64)),
        force=torch.from_numpy(frames.force.astype(np.float32)),
    )
    slices = {"z": nodes, "pos": nodes, "force": nodes, "energy": graphs}
    if frames.name:
        data.name, slices["name"] = list(frames.name), graphs
    if frames.cell is not None and frames.pbc is not None and frames.pbc.any():
        data.cell = torch.from_numpy(frames.cell.astype(np.float32))
        data.pbc = torch.from_numpy(frames.pbc)
        slices |= {"cell": graphs, "pbc": graphs}
    if frames.stress is not None and np.isfinite(frames.stress).any():
        data.stress, slices["stress"] = torch.from_numpy(frames.stress.astype(np.float32)), graphs
    return data, slices


class FrameDataset(InMemoryDataset):
    """Base class of the datasets with ``z``, ``pos``, ``energy`` (`energy_unit`) and ``force``."""

    energy_unit: str

    def _select(self, rows: Sequence[int] | np.ndarray | None) -> None:
        """Keep these frames, in this order (None: all of them)."""
        self._indices = None if rows is None else [int(row) for row in rows]

    def describe(self) -> str:
        """Counts, and range, mean and standard deviation of energies and forces, as a table."""
        items = [self.get(i) for i in self.indices()]
        atoms = [item.num_nodes for item in items]
        elements = torch.cat([item.z for item in items]).unique().tolist()
        lines = [
            f"{type(self).__name__}: {len(items):,} molecules, {sum(atoms):,} atoms "
            f"({min(atoms)}-{max(atoms)}), elements {', '.join(map(str, elements))}",
            f"{'':>16} {'unit':>16} {'min':>14} {'mean':>14} {'max':>14} {'std':>10}",
        ]
        columns = {
            "energy": (torch.cat([item.energy for item in items]), self.energy_unit),
            "force component": (
                torch.cat([item.force for item in items]).double(),
                f"{self.energy_unit}/A",
            ),
        }
        for name, (v, unit) in columns.items():
            lines.append(
                f"{name:>16} {unit:>16} {float(v.min()):>14.4f} {float(v.mean()):>14.4f} "
                f"{float(v.max()):>14.4f} {float(v.std(correction=0)):>10.4f}"
            )
        return "\n".join(lines)
