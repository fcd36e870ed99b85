"""The embedded extract of QM9, with dipole vectors: real molecules without a download."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from e3hyena.data.catalogue import Entry
from e3hyena.data.molecules import MoleculeDataset, pack
from e3hyena.data.qm9 import LICENCE, ORIGIN
from e3hyena.data.splits import standard_split
from e3hyena.data.targets import COLUMNS, TARGETS, Target, raw_to_targets

FILE = Path(__file__).parent / "files" / "qm9_extract.npz"
DECIMALS = {"pos": 4, "dipole": 4, "charges": 4}


def decode(planes: np.ndarray, decimals: int) -> np.ndarray:
    """Decimal numbers from byte planes, float64: 32-bit integers with the sign in the lowest bit.

    Planes compress well and read back exactly; the program that builds the extract encodes them.
    """
    folded = np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view("<u4")[..., 0]
    integers = (folded >> 1).astype(np.int32) ^ -(folded & 1).astype(np.int32)
    return integers / 10**decimals


class QM9Extract(MoleculeDataset):
    """16,000 molecules of QM9 that come with the package: no download, nothing written.

    Drawn at random within each part of the standard split (12,000 / 2,000 / 2,000). The fields are
    those of `QM9`, and

    ============ ======== ========== ==============================================================
    field        unit     shape      what
    ============ ======== ========== ==============================================================
    ``dipole``   D        (1, 3)     GFN2-xTB dipole vector in the frame of ``pos``, irreps ``1o``
    ``charges``  e        (N,)       GFN2-xTB Mulliken partial charges, one ``0e`` per atom
    ============ ======== ========== ==============================================================

    Both are labels of the semi-empirical method GFN2-xTB, not of QM9: QM9 publishes the norm of the
    dipole only (``mu``, B3LYP). Positions are rounded to 1e-4 Angstrom, as in the published SDF.

    Parameters
    ----------
    split : {"train", "val", "test"}, optional
        Part of the standard split; all molecules by default.
    transform : callable, optional
        Called on every `Data` that is taken out.

    Examples
    --------
    >>> dataset = QM9Extract("train")
    >>> len(dataset), sorted(dataset[0].keys())
    (12000, ['charges', 'dipole', 'idx', 'name', 'pos', 'smiles', 'y', 'z'])
    """

    def __init__(self, split: str | None = None, transform: Callable | None = None) -> None:
        ids = None if split is None else standard_split(split)
        super().__init__(None, transform)
        with np.load(FILE) as file:
            arrays = dict(file)
        columns = [
            arrays[name] if decimals is None else decode(arrays[name], decimals)
            for name, decimals in COLUMNS.items()
        ]
        pos, dipole, charges = (decode(arrays[key], d) for key, d in DECIMALS.items())
        z, counts = arrays["z"], arrays["counts"]
        self._data, self.slices = pack(
            arrays["ids"],
            counts,
            z,
            pos,
            arrays["smiles"].tobytes().decode().split("\n"),
            y=raw_to_targets(np.stack(columns, axis=1), z, counts),
            dipole=torch.from_numpy(dipole.astype(np.float32)),
            charges=torch.from_numpy(charges.astype(np.float32)),
        )
        self._select(ids)


CHARGES = Target("charges", "e", "0e", None, "Mulliken charges of atoms, GFN2-xTB", per_atom=True)

ENTRY = Entry(
    QM9Extract,
    lambda options: {**TARGETS, CHARGES.name: CHARGES},
    size="16,000 molecules of QM9",
    holds="19 targets of QM9 (B3LYP), dipole vectors and charges (GFN2-xTB)",
    download="",
    origin=f"{ORIGIN}; GFN2-xTB labels by e3hyena",
    licence=LICENCE,
)
