"""Builds the embedded cumulenes.

``PYTHONPATH=docs python -m benchmarks.data.build_chains [FOLDER]``

Draws the chains of `benchmarks.data.chains`, labels them by GFN2-xTB with tblite, and writes
``files/cumulenes.npz``. FOLDER keeps the labels (default: a temporary folder).
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data.build_extract import encode
from benchmarks.data.chains import label, load, straight, turn
from e3hyena.data.cumulenes import DECIMALS, FILE, SPLITS

SIZES = {"train": 500, "val": 40, "test": 160}


def build(folder: Path, out: Path = FILE) -> None:
    """Write the chains to `out`, with labels kept in `folder`."""
    parts = [load(folder, split, 17, size) for split, size in SIZES.items()]
    z, planar = straight(17)
    scan = np.stack([turn(planar, angle) for angle in range(0, 91, 5)])
    energy, force = (np.array(v) for v in zip(*(label(z, pos) for pos in scan), strict=True))
    columns: dict[str, Any] = {
        "pos": np.concatenate([*(part.pos for part in parts), scan]),
        "force": np.concatenate([*(part.force for part in parts), force]),
        "energy": np.concatenate([*(part.energy for part in parts), energy - energy[0]]),
    }
    columns = {name: encode(column, DECIMALS[name]) for name, column in columns.items()}
    sizes = [*SIZES.values(), len(scan)]
    np.savez_compressed(
        out,
        z=z.astype(np.uint8),
        split=np.repeat(np.arange(len(SPLITS)), sizes).astype(np.uint8),
        **columns,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
