"""The standard split of QM9: 110,000 / 10,000 / 10,829 molecules by id."""

from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")
FILE = Path(__file__).parent / "files" / "qm9_split.npz"


def standard_split(split: str) -> np.ndarray:
    """Ids of one part of the standard split.

    Parameters
    ----------
    split : {"train", "val", "test"}

    Returns
    -------
    ids : ndarray of int64, ascending
        Ids as QM9 counts them, from 1 (methane) to 133885; PyG's ``idx`` is ``id - 1``.

    Raises
    ------
    ValueError
        If `split` is another word.

    Examples
    --------
    >>> [len(standard_split(split)) for split in ("train", "val", "test")]
    [110000, 10000, 10829]
    """
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(map(repr, SPLITS))} or None, got {split!r}")
    with np.load(FILE) as file:
        return np.flatnonzero(np.unpackbits(file[split]))
