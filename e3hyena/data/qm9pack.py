"""Reads the tables of QM9 from the wheel of the package `qm9pack`."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from e3hyena._extras import require
from e3hyena.data.targets import COLUMNS, ELEMENTS

REQUIREMENT = "qm9pack==1.0.3"
WHEEL = "qm9pack-1.0.3-py3-none-any.whl"
_PARTS = [f"qm9pack/data/qm9_part{part}.csv" for part in (1, 2, 3)]


class Table(NamedTuple):
    """Molecules as flat arrays.

    ids (num_graphs,), counts (num_graphs,), z (num_nodes,), pos (num_nodes, 3) in Angstrom,
    smiles, raw (num_graphs, 15): the columns `COLUMNS` in their published units, float64.
    """

    ids: np.ndarray
    counts: np.ndarray
    z: np.ndarray
    pos: np.ndarray
    smiles: list[str]
    raw: np.ndarray


def read_wheel(wheel: Path) -> Table:
    """Read all molecules, in the order of their ids."""
    pandas = require("pandas", "data")
    columns = ["Index", "SMILES", "N_atoms", "Elements", "XYZ_Ang", *COLUMNS]
    try:
        with zipfile.ZipFile(wheel) as archive:
            parts = [pandas.read_csv(archive.open(part), usecols=columns) for part in _PARTS]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"{wheel} is not an intact wheel of {REQUIREMENT} ({error}); "
            "delete it and download again"
        ) from error
    frame = pandas.concat(parts).sort_values("Index")
    symbols = ",".join(frame["Elements"]).translate({ord(c): None for c in "[]'"}).split(",")
    numbers = ",".join(frame["XYZ_Ang"]).replace("[", "").replace("]", "")
    table = Table(
        ids=frame["Index"].to_numpy(np.int64),
        counts=frame["N_atoms"].to_numpy(np.int64),
        z=np.array([ELEMENTS[symbol] for symbol in symbols]),
        pos=np.fromstring(numbers, sep=",").reshape(-1, 3),
        smiles=frame["SMILES"].tolist(),
        raw=frame[list(COLUMNS)].to_numpy(np.float64),
    )
    if not table.counts.sum() == len(table.z) == len(table.pos):
        raise ValueError(
            f"{wheel}: {table.counts.sum()} atoms announced, but {len(table.z)} elements and "
            f"{len(table.pos)} positions read; delete it and download again"
        )
    return table
