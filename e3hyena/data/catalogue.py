"""What data there is: contents, size, source and licence, for the command line and model cards."""

from typing import NamedTuple

__all__ = ["CATALOGUE", "Entry"]


class Entry(NamedTuple):
    """One source of molecules.

    Attributes
    ----------
    dataset : str
        Name of the class in `e3hyena.data`.
    size : str
        How many molecules.
    holds : str
        What is known about them.
    download : str
        What must be fetched, and how much.
    origin : str
        Who made it.
    licence : str
    """

    dataset: str
    size: str
    holds: str
    download: str
    origin: str
    licence: str


_QM9 = "QM9: Ramakrishnan et al., Scientific Data 1, 140022 (2014), through qm9pack 1.0.3"

CATALOGUE = {
    "extract": Entry(
        "QM9Extract",
        "16,000 molecules of QM9",
        "19 targets of QM9 (B3LYP), dipole vectors and charges (GFN2-xTB)",
        "nothing: inside the package",
        f"{_QM9}; GFN2-xTB labels by e3hyena",
        "MIT (qm9pack); the terms of QM9 itself are its authors'",
    ),
    "qm9": Entry(
        "QM9",
        "130,831 molecules",
        "19 targets of QM9 (B3LYP)",
        "104 MB from the Python package index",
        _QM9,
        "MIT (qm9pack); the terms of QM9 itself are its authors'",
    ),
    "md17": Entry(
        "MD17Ethanol",
        "50,000 frames of ethanol",
        "energies and forces (PBE)",
        "54 MB from the Python package index",
        "MD17: Chmiela et al., Science Advances 3, e1603015 (2017), through molpipx 0.1.1",
        "Apache-2.0 or MIT (molpipx); the terms of MD17 itself are its authors'",
    ),
    "extxyz": Entry(
        "ExtXYZ",
        "files of your own",
        "energies and forces",
        "nothing",
        "files of the user",
        "the user's",
    ),
}
