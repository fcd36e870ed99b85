"""Embedded cumulenes: energies that depend on how one end is turned against the other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from e3hyena.data.catalogue import Entry
from e3hyena.data.fixed_point import decode
from e3hyena.data.frames import FrameDataset, Frames, collate
from e3hyena.data.targets import energies_with_forces

__all__ = ["ENTRY", "Cumulenes"]

FILE = Path(__file__).parent / "files" / "cumulenes.npz"
SPLITS = ("train", "val", "test", "scan")
DECIMALS = {"pos": 4, "force": 3, "energy": 5}


class Cumulenes(FrameDataset):
    """C17H4, a straight chain of 20 Angstrom, with energies and forces by GFN2-xTB.

    One half is turned against the other by 0 to 90 degrees and every atom is displaced by a normal
    of .02 Angstrom (hydrogens, 17 carbons, hydrogens, from end to end). Eight neighbours in the
    test differ in their torsion alone, so that a network whose atoms see neither both ends nor
    hear of them gives all of them the same energy. ``scan`` is the undisplaced chain, turned.

    Fields are ``z``, ``pos`` (Angstrom), ``energy`` (eV, above the planar, straight chain) and
    ``force`` (eV per Angstrom).

    Parameters
    ----------
    split : {"train", "val", "test", "scan"}, optional
        500, 40, 160 and 19 chains; all of them by default.
    transform : callable, optional
        Called on every `Data` that is taken out.

    Raises
    ------
    ValueError
        If the split is unknown.

    Examples
    --------
    >>> scan = Cumulenes("scan")  # every 5 degrees
    >>> len(scan), scan[0].z.shape, round(float(scan[-1].energy), 2)
    (19, torch.Size([21]), -0.43)
    """

    energy_unit = "eV"

    def __init__(self, split: str | None = None, transform: Callable | None = None) -> None:
        if split is not None and split not in SPLITS:
            raise ValueError(f"split={split!r} is unknown: use one of {', '.join(SPLITS)}")
        super().__init__(None, transform)
        with np.load(FILE) as file:
            arrays = dict(file)
        pos, force, energy = (decode(arrays[name], digits) for name, digits in DECIMALS.items())
        number, atoms = pos.shape[:2]
        self._data, self.slices = collate(
            Frames(
                counts=np.full(number, atoms),
                z=np.tile(arrays["z"], number),
                pos=pos.reshape(-1, 3),
                energy=energy,
                force=force.reshape(-1, 3),
            )
        )
        if split is not None:
            self._select(np.flatnonzero(arrays["split"] == SPLITS.index(split)))


ENTRY = Entry(
    Cumulenes,
    lambda options: energies_with_forces(options, "eV"),
    size="719 chains C17H4",
    holds="energies and forces (GFN2-xTB)",
    download="",
    origin="e3hyena",
    licence="MIT",
)
