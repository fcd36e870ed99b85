"""The full QM9, read from a package on the Python package index."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from e3hyena._digest import check_sums
from e3hyena.data.catalogue import Entry
from e3hyena.data.molecules import MoleculeDataset, pack
from e3hyena.data.qm9pack import REQUIREMENT, WHEEL, read_wheel
from e3hyena.data.splits import standard_split
from e3hyena.data.targets import TARGETS, raw_to_targets
from e3hyena.data.wheels import download_wheel


class QM9(MoleculeDataset):
    """QM9: 130,831 molecules of H, C, N, O and F with 19 targets.

    A drop-in for `torch_geometric.datasets.QM9` with the same molecules, order, fields, targets
    and units (`TARGETS`), read from the wheel of ``qm9pack`` (104 MB, by QM9's first author). Every
    molecule has

    ========== ============ ======= ===============================================================
    field      shape        dtype   what
    ========== ============ ======= ===============================================================
    ``z``      (N,)         int64   atomic numbers
    ``pos``    (N, 3)       float32 positions, Angstrom
    ``y``      (1, 19)      float32 the targets
    ``idx``    (1,)         int64   row in the published file, the id of QM9 minus 1
    ``name``                str     ``gdb_{id}``
    ``smiles``              str     as published
    ========== ============ ======= ===============================================================

    What differs from PyG: no bonds, hence no ``x``, ``edge_index`` and ``edge_attr`` (RDKit's
    features of the published bond table, which the package does not hold); SMILES without explicit
    hydrogens; positions with ten decimals instead of four before rounding to float32; energies
    converted in float64, so that atomization energies keep all their digits.

    Parameters
    ----------
    root : str or path
        Folder for the wheel (``raw/``) and the processed molecules (``processed/``).
    split : {"train", "val", "test"}, optional
        Part of the standard split of 110,000 / 10,000 / 10,829 molecules; all of them by default.
        The parts share one processed file.
    transform, pre_transform, pre_filter : callable, optional
        As in `torch_geometric.datasets.QM9`.
    force_reload : bool
        Process again.

    Raises
    ------
    ImportError
        If pandas is not installed (needed once, to process).
    RuntimeError
        If the download fails; the message tells how to place the wheel by hand.
    ValueError
        If `split` is unknown, the wheel is damaged, or `pre_filter` drops every molecule.

    Examples
    --------
    >>> dataset = QM9("~/data/qm9", split="train")  # doctest: +SKIP
    >>> print(dataset.describe())  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        transform: Callable | None = None,
        pre_transform: Callable | None = None,
        pre_filter: Callable | None = None,
        force_reload: bool = False,
    ) -> None:
        members = None if split is None else standard_split(split)
        super().__init__(
            os.fspath(root), transform, pre_transform, pre_filter, force_reload=force_reload
        )
        check_sums(self.processed_paths[0])
        self.load(self.processed_paths[0])
        self._select(members)

    @property
    def raw_file_names(self) -> list[str]:
        return [WHEEL]

    @property
    def processed_file_names(self) -> str:
        """Another name than PyG's, so that both can share a root."""
        return "qm9pack_v1.pt"

    def download(self) -> None:
        download_wheel(REQUIREMENT, Path(self.raw_dir))

    def process(self) -> None:
        """Read the wheel, filter and transform the molecules, write ``processed/``."""
        table = read_wheel(Path(self.raw_paths[0]))
        y = raw_to_targets(table.raw, table.z, table.counts)
        ids, counts, z, pos, smiles, _ = table
        data, slices = self._data, self.slices = pack(ids, counts, z, pos, smiles, y=y)
        if self.pre_filter is not None or self.pre_transform is not None:
            kept = [self.get(i) for i in range(self.len())]
            if self.pre_filter is not None:
                kept = [molecule for molecule in kept if self.pre_filter(molecule)]
            if self.pre_transform is not None:
                kept = [self.pre_transform(molecule) for molecule in kept]
            if not kept:
                raise ValueError("pre_filter dropped every molecule; at least one must remain")
            data, slices = self.collate(kept)
        partial = Path(f"{self.processed_paths[0]}.{os.getpid()}.partial")
        torch.save((data.to_dict(), slices), partial)
        partial.replace(self.processed_paths[0])


ORIGIN = "QM9: Ramakrishnan et al., Scientific Data 1, 140022 (2014), through qm9pack 1.0.3"
LICENCE = "MIT (qm9pack); the terms of QM9 itself are its authors'"

ENTRY = Entry(
    QM9,
    lambda options: {name: t for name, t in TARGETS.items() if t.index is not None},
    size="130,831 molecules",
    holds="19 targets of QM9 (B3LYP)",
    download="104 MB from the Python package index",
    origin=ORIGIN,
    licence=LICENCE,
    root="folder",
)
