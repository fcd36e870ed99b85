"""Molecules in flat tensors, and batches of them in an order that survives an interruption."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from e3hyena.data.targets import Target
from e3hyena.training.processes import ALONE, Share

SUBSET_SEED = 0  # which molecules a part of a split holds does not depend on the run


class Batch(NamedTuple):
    """A few molecules: the fields of `Molecules`, with the molecule of every atom, `batch`."""

    z: Tensor
    pos: Tensor
    batch: Tensor
    label: Tensor
    force: Tensor | None = None
    atom_label: Tensor | None = None
    cell: Tensor | None = None
    pbc: Tensor | None = None
    stress: Tensor | None = None

    def to(self, device: str) -> "Batch":
        """The same on a device."""
        return Batch._make(None if value is None else value.to(device) for value in self)

    @property
    def lattice(self) -> dict[str, Any]:
        """Cells as arguments of a network; nothing for molecules."""
        return {} if self.cell is None or self.pbc is None else {"cell": self.cell, "pbc": self.pbc}


class Molecules(NamedTuple):
    """Many molecules, atoms one after the other; where each begins, `ptr`, (num_graphs + 1,).

    Labels are (num_graphs, dim), properties side by side in their units or in the network's scale,
    NaN where one is missing; those of atoms (num_tokens, atom_dim); forces (num_tokens, 3); stress
    (num_graphs, 3, 3).
    Positions and lattice vectors `cell`, (num_graphs, 3, 3), are in angstrom; `pbc`,
    (num_graphs, 3), says which are periodic. None: nothing is learned, or all are molecules.
    """

    z: Tensor
    pos: Tensor
    ptr: Tensor
    label: Tensor
    force: Tensor | None = None
    atom_label: Tensor | None = None
    cell: Tensor | None = None
    pbc: Tensor | None = None
    stress: Tensor | None = None

    @classmethod
    def from_dataset(cls, dataset: Any, task: Target, size: int | None, what: str) -> "Molecules":
        """Take `size` molecules (None: all) of a PyG dataset; `what` names it in errors."""
        size = len(dataset) if size is None else size
        if size > len(dataset):
            raise ValueError(
                f"{what}_size = {size}, but this split has {len(dataset)} molecules: "
                "ask for fewer, or null for all"
            )
        if size == 0:
            raise ValueError(f"{what}: this split holds no molecules; give it some")
        generator = torch.Generator("cpu").manual_seed(SUBSET_SEED)
        order = torch.randperm(len(dataset), generator=generator, device="cpu")
        items = [dataset[i] for i in order[:size].tolist()]
        counts = torch.tensor([0] + [len(item.z) for item in items], device="cpu")
        columns = {part: torch.cat([part.of(item) for item in items]) for part in task.each}
        for part, column in columns.items():
            if not column.isfinite().all(dim=-1).any():
                raise ValueError(f"{what}: no molecule has a label of {part.name!r}; give it some")
        graphs = [column for part, column in columns.items() if not part.per_atom]
        atoms = [column for part, column in columns.items() if part.per_atom]
        return cls(
            z=torch.cat([item.z for item in items]),
            pos=torch.cat([item.pos for item in items]),
            ptr=counts.cumsum(0),
            label=torch.cat(graphs, dim=1) if graphs else torch.zeros(size, 0, device="cpu"),
            force=torch.cat([item.force for item in items]) if task.has_forces else None,
            atom_label=torch.cat(atoms, dim=1) if atoms else None,
            stress=_stresses(items, what) if task.has_stress else None,
            **lattices(items),
        )

    @property
    def num_graphs(self) -> int:
        """How many molecules."""
        return len(self.label)

    @property
    def batch(self) -> Tensor:
        """Molecule of every atom, shape (num_tokens,)."""
        return torch.arange(self.num_graphs, device="cpu").repeat_interleave(self.ptr.diff())

    def select(self, graphs: Tensor) -> Batch:
        """The molecules numbered `graphs`, in that order."""
        tokens, batch = rows_of(self.ptr, graphs)
        rows = (self.force, self.atom_label)
        force, atoms = (None if value is None else value[tokens] for value in rows)
        lattice = (None if x is None else x[graphs] for x in (self.cell, self.pbc, self.stress))
        z, pos, label = self.z[tokens], self.pos[tokens], self.label[graphs]
        return Batch(z, pos, batch, label, force, atoms, *lattice)


def rows_of(ptr: Tensor, graphs: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the graphs numbered `graphs`, whose offsets are `ptr`, and whose each row is."""
    counts = ptr.diff()[graphs]
    owner = torch.arange(len(graphs), device="cpu").repeat_interleave(counts)
    first = ptr[graphs] - (counts.cumsum(0) - counts)
    return torch.arange(len(owner), device="cpu") + first[owner], owner


def lattices(graphs: Sequence[Data]) -> dict[str, Tensor]:
    """``cell`` and ``pbc`` of graphs, stacked; nothing where all are molecules."""
    if not any("cell" in graph for graph in graphs):
        return {}
    cell, pbc = torch.zeros(1, 3, 3, device="cpu"), torch.zeros(1, 3, device="cpu").bool()
    return {
        "cell": torch.cat([graph.get("cell", cell) for graph in graphs]),
        "pbc": torch.cat([graph.get("pbc", pbc) for graph in graphs]),
    }


def _stresses(items: Sequence[Data], what: str) -> Tensor:
    for item in items:
        if "stress" not in item or not item.stress.isfinite().all():
            raise ValueError(
                f"{what}: {item.get('name') or 'a structure'} has no stress: the task 'stress' "
                "needs cells, periodic in three directions, with 6 or 9 finite numbers under the "
                "option stress_key, or as virial; leave it out, or train the task 'forces'"
            )
    return torch.cat([item.stress for item in items])


class EvalLoader:
    """One pass over the molecules in order."""

    def __init__(self, molecules: Molecules, batch_size: int, share: Share = ALONE) -> None:
        self.molecules = molecules
        self.batch_size = batch_size
        self.share = share

    def __len__(self) -> int:
        return -(-self.molecules.num_graphs // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for part in torch.arange(self.molecules.num_graphs, device="cpu").split(self.batch_size):
            yield self.molecules.select(self.share.of(part))


class TrainLoader:
    """Endless passes over the molecules; the order of pass n is drawn from (seed, n) alone.

    Iterating gives the rest of the current pass. `state_dict` is the number of batches given so
    far, so that a continued training sees the batches that an uninterrupted one would have seen.
    """

    def __init__(
        self, molecules: Molecules, batch_size: int, seed: int, share: Share = ALONE
    ) -> None:
        self.molecules = molecules
        self.batch_size = batch_size
        self.seed = seed
        self.share = share
        self.step = 0

    def __len__(self) -> int:
        return -(-self.molecules.num_graphs // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = divmod(self.step, len(self))
        order = torch.randperm(
            self.molecules.num_graphs,
            generator=torch.Generator("cpu").manual_seed(self.seed * 1_000_003 + epoch),
            device="cpu",
        )
        for part in order.split(self.batch_size)[first:]:
            self.step += 1
            yield self.batch(self.share.of(part))

    def batch(self, graphs: Tensor) -> Batch:
        """The molecules numbered `graphs`."""
        return self.molecules.select(graphs)

    def state_dict(self) -> dict[str, int]:
        """Batches given so far."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]
