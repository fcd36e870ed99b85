"""Embedded cumulenes: energies that depend on how one end is turned against the other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from e3hyena.data.catalogue import Entry
from e3hyena.data.extract import decode
from e3hyena.data.frames import FrameDataset, Frames, collate
from e3hyena.data.splits import check_split
from e3hyena.data.targets import energies_with_forces

FILE = Path(__file__).parent / "files" / "cumulenes.npz"
SPLITS = ("train", "val", "test", "scan")
DECIMALS = {"pos": 4, "force": 3, "energy": 5}


class Cumulenes(FrameDataset):
    """C17H4, a straight chain of 20 Angstrom, with energies and forces by GFN2-xTB.

    One half is turned against the other by 0 to 90 degrees, and every atom is displaced by a normal
    of .02 Angstrom. Eight neighbours in ``test`` differ in their torsion alone: a network whose
    atoms do not hear of both ends gives them one energy. ``scan`` is the chain without
    displacements, turned in steps of 5 degrees. Every chain has ``z``, ``pos`` (Angstrom),
    ``energy`` (eV, above the planar, straight chain) and ``force`` (eV per Angstrom).

    Parameters
    ----------
    split : {"train", "val", "test", "scan"}, optional
        500, 40, 160 and 19 chains; all of them by default. Others raise ValueError.
    transform : callable, optional
        Called on every `Data` that is taken out.

    Examples
    --------
    >>> scan = Cumulenes("scan")
    >>> len(scan), scan[0].num_nodes, round(float(scan[-1].energy), 2)
    (19, 21, -0.43)
    """

    energy_unit = "eV"

    def __init__(self, split: str | None = None, transform: Callable | None = None) -> None:
        check_split(split, SPLITS)
        super().__init__(None, transform)
        with np.load(FILE) as file:
            z, numbers = file["z"], file["split"]
            pos, force, energy = (decode(file[name], digits) for name, digits in DECIMALS.items())
        counts = np.full(len(pos), len(z))
        flat = np.tile(z, len(pos)), pos.reshape(-1, 3), energy, force.reshape(-1, 3)
        self._data, self.slices = collate(Frames(counts, *flat))
        self._select(None if split is None else np.flatnonzero(numbers == SPLITS.index(split)))


ENTRY = Entry(
    Cumulenes,
    lambda options: energies_with_forces(options, "eV"),
    size="719 chains C17H4",
    holds="energies and forces (GFN2-xTB)",
    download="",
    origin="e3hyena",
    licence="MIT",
)
