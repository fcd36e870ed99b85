"""What the QM9 datasets share: storage, split, statistics."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.datasets.qm9 import atomrefs

from e3hyena.data.targets import ELEMENTS, TARGETS


def pack(
    ids: np.ndarray,
    counts: np.ndarray,
    z: np.ndarray,
    pos: np.ndarray,
    smiles: Sequence[str],
    **fields: Tensor,
) -> tuple[Data, dict[str, Tensor]]:
    """Molecules in PyG's collated form, built from flat arrays."""
    per_graph = torch.arange(len(ids) + 1, device="cpu")
    per_node = torch.from_numpy(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))
    data = Data(
        z=torch.from_numpy(z.astype(np.int64)),
        pos=torch.from_numpy(pos.astype(np.float32)),
        smiles=list(smiles),
        name=[f"gdb_{i}" for i in ids],
        idx=torch.from_numpy(ids.astype(np.int64) - 1),
        **fields,
    )
    slices = {
        key: per_node if key in ("z", "pos") or len(value) == len(z) else per_graph
        for key, value in data.to_dict().items()
    }
    return data, slices


class MoleculeDataset(InMemoryDataset):
    """Base class of `QM9` and `QM9Extract`: the part that needs the molecules in memory."""

    def _select(self, ids: np.ndarray | None) -> None:
        """Keep the molecules with these ids (None: all of them)."""
        if ids is not None:
            rows = torch.isin(self._data.idx, torch.from_numpy(ids - 1))
            self._indices = rows.nonzero().flatten().tolist()

    def _column(self, target: int) -> Tensor:
        return self._data.y[list(self.indices()), target]

    def mean(self, target: int) -> float:
        """Mean of column `target` of ``y`` over the molecules of this split."""
        return float(self._column(target).mean())

    def std(self, target: int) -> float:
        """Standard deviation of column `target` of ``y`` over the molecules of this split."""
        return float(self._column(target).std())

    def atomref(self, target: int) -> Tensor | None:
        """Energies of free atoms of column `target` of ``y``: eV by atomic number, ``(100, 1)``."""
        if target not in atomrefs:
            return None
        reference = torch.zeros(100, 1, device="cpu")
        reference[list(ELEMENTS.values()), 0] = torch.tensor(atomrefs[target], device="cpu")
        return reference

    def describe(self) -> str:
        """Counts, and range, mean and standard deviation of every target, as a table."""
        indices = torch.tensor(list(self.indices()), device="cpu")
        atoms = torch.tensor([self.get(i).num_nodes for i in indices.tolist()], device="cpu")
        lines = [
            f"{type(self).__name__}: {len(indices):,} molecules, {int(atoms.sum()):,} atoms "
            f"({int(atoms.min())}-{int(atoms.max())}, mean {float(atoms.double().mean()):.1f})",
            f"{'target':>8} {'unit':>12} {'irreps':>6} {'min':>11} {'mean':>11} {'max':>11} "
            f"{'std':>10}",
        ]
        for target in TARGETS.values():
            if target.index is None and target.name not in self._data:
                continue
            v = target.of(self._data)[indices].double()
            lines.append(
                f"{target.name:>8} {target.unit:>12} {target.irreps:>6} {float(v.min()):>11.4f} "
                f"{float(v.mean()):>11.4f} {float(v.max()):>11.4f} {float(v.std()):>10.4f}"
            )
        return "\n".join(lines)
