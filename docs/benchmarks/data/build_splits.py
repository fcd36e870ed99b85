"""Builds the file of the standard split.

``PYTHONPATH=docs python -m benchmarks.data.build_splits [FOLDER]``

FOLDER is where the wheel of jarvis-leaderboard lies or is put (default: a temporary folder).
"""

import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from e3hyena.data.splits import FILE, SPLITS
from e3hyena.data.wheels import download_wheel

__all__ = ["build"]

REQUIREMENT = "jarvis-leaderboard==2024.10.30"
_MEMBER = "jarvis_leaderboard/benchmarks/AI/SinglePropertyPrediction/qm9_std_jctc_mu.json.zip"
_LARGEST_ID = 133885


def build(folder: Path, out: Path = FILE) -> None:
    """Write one bit per id and part to `out`, with the wheel of jarvis-leaderboard in `folder`."""
    with zipfile.ZipFile(download_wheel(REQUIREMENT, folder)) as wheel:
        with zipfile.ZipFile(io.BytesIO(wheel.read(_MEMBER))) as inner:
            parts = json.loads(inner.read(inner.namelist()[0]))
    arrays: dict[str, Any] = {}
    for split in SPLITS:
        member = np.zeros(_LARGEST_ID + 1, bool)
        member[[int(i) for i in parts[split]]] = True
        arrays[split] = np.packbits(member)
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(sys.argv[1] if len(sys.argv) > 1 else temporary))
