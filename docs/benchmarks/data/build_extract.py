"""Builds the embedded extract.

``PYTHONPATH=docs python -m benchmarks.data.build_extract [FOLDER]``

Draws molecules of QM9 at random within each part of the standard split, computes their GFN2-xTB
dipole vectors and partial charges with tblite, and writes ``files/qm9_extract.npz``. FOLDER is
where the wheel of qm9pack lies or is put (default: a temporary folder).
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from e3hyena._extras import require
from e3hyena.data.extract import DECIMALS, FILE
from e3hyena.data.qm9pack import REQUIREMENT, Table, read_wheel
from e3hyena.data.splits import standard_split
from e3hyena.data.targets import COLUMNS
from e3hyena.data.wheels import download_wheel

__all__ = ["build", "draw", "label"]

SIZES = {"train": 12000, "val": 2000, "test": 2000}
BOHR = 0.529177210544  # Angstrom (CODATA 2022)
DEBYE = 2.541746473  # 1 e bohr in Debye


def draw(seed: int = 0) -> np.ndarray:
    """Ids of the extract, ascending: `SIZES` molecules of each part of the standard split."""
    rng = np.random.default_rng(seed)
    return np.sort(
        np.concatenate([rng.choice(standard_split(s), n, replace=False) for s, n in SIZES.items()])
    )


def encode(values: np.ndarray, decimals: int) -> np.ndarray:
    """Round to `decimals` digits after the point and store as 32-bit integers, plane by plane."""
    scaled = np.rint(np.asarray(values, np.float64) * 10**decimals)
    if not (np.abs(scaled) < 2**31).all():
        raise ValueError(
            f"values up to {np.abs(values).max()} do not fit 32 bits with {decimals} decimals"
        )
    integers = scaled.astype("<i4")
    # Signed numbers near zero differ in every byte: fold the sign into the lowest bit.
    folded = ((integers << 1) ^ (integers >> 31)).view("<u4")
    return np.ascontiguousarray(np.moveaxis(folded[..., None].view(np.uint8), -1, 0))


def take(table: Table, rows: np.ndarray) -> Table:
    """The molecules `rows` (indices or mask)."""
    rows = np.arange(len(table.ids))[rows]
    ends = np.cumsum(table.counts)
    atoms = np.concatenate([np.arange(ends[i] - table.counts[i], ends[i]) for i in rows])
    smiles = [table.smiles[i] for i in rows]
    ids, counts, raw = table.ids[rows], table.counts[rows], table.raw[rows]
    return Table(ids, counts, table.z[atoms], table.pos[atoms], smiles, raw)


def label(table: Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """GFN2-xTB labels, molecule after molecule."""
    interface = require("tblite.interface", "label")
    for last, count in zip(np.cumsum(table.counts), table.counts, strict=True):
        atoms = slice(last - count, last)
        calculator = interface.Calculator("GFN2-xTB", table.z[atoms], table.pos[atoms] / BOHR)
        calculator.set("verbosity", 0)
        result = calculator.singlepoint()
        yield DEBYE * result.get("dipole"), result.get("charges")


def build(folder: Path, out: Path = FILE) -> None:
    """Write the extract to `out`, with the wheel of qm9pack in `folder`."""
    table = read_wheel(download_wheel(REQUIREMENT, folder))
    table = take(table, np.isin(table.ids, draw()))
    table = table._replace(pos=np.round(table.pos, DECIMALS["pos"]))
    labels = []
    for molecule in label(table):
        labels.append(molecule)
        if len(labels) % 1000 == 0:
            print(f"{len(labels)} of {len(table.ids)} molecules", file=sys.stderr, flush=True)
    dipole, charges = zip(*labels, strict=True)
    columns: dict[str, Any] = {
        name: table.raw[:, k].astype(np.float32)
        if decimals is None
        else encode(table.raw[:, k], decimals)
        for k, (name, decimals) in enumerate(COLUMNS.items())
    }
    np.savez_compressed(
        out,
        ids=table.ids.astype(np.int32),
        counts=table.counts.astype(np.uint8),
        z=table.z.astype(np.uint8),
        smiles=np.frombuffer("\n".join(table.smiles).encode(), np.uint8),
        pos=encode(table.pos, DECIMALS["pos"]),
        dipole=encode(np.stack(dipole), DECIMALS["dipole"]),
        charges=encode(np.concatenate(charges), DECIMALS["charges"]),
        **columns,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
