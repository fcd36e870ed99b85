"""Splits: the standard one of QM9, and those of the user's own files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")
SHARES = {"train": (0.0, 0.8), "val": (0.8, 0.9), "test": (0.9, 1.0)}
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


def check_split(split: str | None, known: Sequence[str] = SPLITS) -> None:
    """A ValueError if there is no such split; None is all of a set."""
    if split is not None and split not in known:
        raise ValueError(f"split={split!r} is unknown: use one of {', '.join(known)}")


def random_part(count: int, split: str, seed: int) -> list[int]:
    """Numbers of the molecules of a split, drawn once and for all: 80, 10 and 10 percent."""
    order = np.random.default_rng(seed).permutation(count)
    first, last = (round(share * count) for share in SHARES[split])
    return [int(row) for row in order[first:last]]


def file_of(path: Path, split: str | None, suffixes: Iterable[str]) -> Path:
    """The file itself, or the one of a split in a folder."""
    if not path.is_dir():
        return path
    if split is None:
        raise ValueError(f"{str(path)!r} is a folder: say which file with split='train' or another")
    found = [path / f"{split}{suffix}" for suffix in suffixes]
    return next((file for file in found if file.is_file()), found[0])
