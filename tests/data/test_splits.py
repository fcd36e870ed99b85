import io
import json
import zipfile

import numpy as np
import pytest
from benchmarks.data import build_splits

from e3hyena.data import standard_split
from e3hyena.data.splits import SPLITS


def test_sizes_and_disjoint():
    parts = [standard_split(split) for split in SPLITS]
    assert [len(part) for part in parts] == [110000, 10000, 10829]
    union = np.unique(np.concatenate(parts))
    assert len(union) == sum(map(len, parts))
    assert union[0] == 1
    assert union[-1] == 133885


def test_first_ids_as_published():
    assert standard_split("val")[:3].tolist() == [39, 63, 65]
    assert standard_split("test")[:3].tolist() == [16, 41, 46]


def test_unknown_split():
    with pytest.raises(ValueError, match=r"'train', 'val', 'test' or None, got 'valid'"):
        standard_split("valid")


def test_build(tmp_path):
    """The file that `build` writes reads back to the ids in the wheel."""
    parts = {"train": {"000001": "0.1", "133885": "0.2"}, "val": {"000017": "0"}, "test": {}}
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("qm9_std_jctc_mu.json", json.dumps(parts))
    wheel = tmp_path / "jarvis_leaderboard-2024.10.30-py2.py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(build_splits._MEMBER, inner.getvalue())
    build_splits.build(tmp_path, tmp_path / "split.npz")
    with np.load(tmp_path / "split.npz") as file:
        ids = {split: np.flatnonzero(np.unpackbits(file[split])).tolist() for split in SPLITS}
    assert ids == {"train": [1, 133885], "val": [17], "test": []}
