"""Ethanol of MD17, read from a package on the Python package index."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from e3hyena._digest import check_sums
from e3hyena.data.catalogue import Entry
from e3hyena.data.frames import FrameDataset, Frames, collate
from e3hyena.data.splits import check_split
from e3hyena.data.targets import ELEMENTS, energies_with_forces
from e3hyena.data.units import energy_factor, length_factor
from e3hyena.data.wheels import download_wheel

REQUIREMENT = "molpipx==0.1.1"
WHEEL = "molpipx-0.1.1-py3-none-any.whl"
MEMBER = "molpipx/data/DDEthanol/Train_data_50000.xyz"
NUM_FRAMES, NUM_ATOMS = 50_000, 9
SPLIT_SEED = 0
SPLITS = {"train": slice(0, 40_000), "val": slice(40_000, 45_000), "test": slice(45_000, None)}


class MD17Ethanol(FrameDataset):
    """50,000 frames of the molecular dynamics of ethanol of MD17 (PBE), with energies and forces.

    Read from the wheel of ``molpipx`` (54 MB), whose file holds these frames without their number
    in the published trajectory: frames are drawn at random from a part of it. Fields and units are
    those of `torch_geometric.datasets.MD17`:

    ========== ======== ======= ==================================================================
    field      shape    dtype   what
    ========== ======== ======= ==================================================================
    ``z``      (9,)     int64   atomic numbers
    ``pos``    (9, 3)   float32 positions about the mean of the atoms, Angstrom
    ``energy`` (1,)     float64 total energy
    ``force``  (9, 3)   float32 minus its gradient, ``energy_unit`` / Angstrom
    ========== ======== ======= ==================================================================

    Parameters
    ----------
    root : str or path
        Folder for the wheel (``raw/``) and the frames (``processed/``).
    split : {"train", "val", "test"}, optional
        40,000 / 5,000 / 5,000 frames, drawn once and for all; all of them by default.
    transform : callable, optional
        Called on every `Data` that is taken out.
    energy_unit : {"kcal/mol", "eV", "kJ/mol", "Hartree", "Rydberg"}
        Unit of the energies.

    Raises
    ------
    ImportError
        If the extra ``chem`` is not installed.
    RuntimeError
        If the download fails; the message tells how to place the wheel by hand.
    ValueError
        If the split or the unit is unknown, or the wheel is damaged.

    Examples
    --------
    >>> dataset = MD17Ethanol("data/md17", "train")  # doctest: +SKIP
    >>> print(dataset.describe())  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        transform: Callable | None = None,
        *,
        energy_unit: str = "kcal/mol",
    ) -> None:
        check_split(split)
        self.energy_unit = energy_unit
        factor = energy_factor("Hartree", energy_unit)
        super().__init__(os.fspath(root), transform)
        check_sums(self.processed_paths[0])
        self.load(self.processed_paths[0])
        self._data.energy *= factor
        self._data.force *= factor / length_factor("Bohr", "Angstrom")
        order = np.random.default_rng(SPLIT_SEED).permutation(NUM_FRAMES)
        self._select(None if split is None else order[SPLITS[split]])

    @property
    def raw_file_names(self) -> list[str]:
        return [WHEEL]

    @property
    def processed_file_names(self) -> str:
        """All frames, in the published units: Hartree, Hartree/Bohr and Angstrom."""
        return "ethanol_v2.pt"

    def download(self) -> None:
        download_wheel(REQUIREMENT, Path(self.raw_dir))

    def process(self) -> None:
        """Read the wheel, write ``processed/``."""
        data, slices = collate(read_wheel(Path(self.raw_paths[0])))
        partial = Path(f"{self.processed_paths[0]}.{os.getpid()}.partial")
        torch.save((data.to_dict(), slices), partial)
        partial.replace(self.processed_paths[0])


def read_wheel(wheel: Path) -> Frames:
    """Read all frames: energies in Hartree, forces in Hartree/Bohr, positions in Angstrom."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            lines = archive.read(MEMBER).decode().splitlines()
        per_frame = NUM_ATOMS + 2  # the count, the energy, then the atoms
        table = np.array(lines).reshape(NUM_FRAMES, per_frame)
        energy = table[:, 1].astype(np.float64)
        atoms = np.array([line.split() for line in table[:, 2:].flatten()])
        numbers = atoms[:, 1:].astype(np.float64)
        z = np.array([ELEMENTS[symbol] for symbol in atoms[:, 0]])
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"{wheel} is not an intact wheel of {REQUIREMENT} ({error}); "
            "delete it and download again"
        ) from error
    counts = np.full(NUM_FRAMES, NUM_ATOMS)
    # The file holds gradients.
    return Frames(counts, z, numbers[:, :3], energy, -numbers[:, 3:])


ENTRY = Entry(
    MD17Ethanol,
    lambda options: energies_with_forces(options, "kcal/mol"),
    size="50,000 frames of ethanol",
    holds="energies and forces (PBE)",
    download="54 MB from the Python package index",
    origin="MD17: Chmiela et al., Science Advances 3, e1603015 (2017), through molpipx 0.1.1",
    licence="Apache-2.0 or MIT (molpipx); the terms of MD17 itself are its authors'",
    root="folder",
)
