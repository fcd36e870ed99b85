"""Checkpoints that a killed training continues from."""

import time
from pathlib import Path
from typing import Any

import torch

from e3hyena._extras import require
from e3hyena.training.files import atomic_path
from e3hyena.training.molecules import TrainLoader

pl: Any = require("lightning.pytorch", "train")

__all__ = ["Checkpoints", "resumable"]


class Checkpoints(pl.Callback):
    """Writes the state of the trainer after every epoch and every few minutes in between.

    It must be the last callback, so that it stores what the others did after the same batch.

    Parameters
    ----------
    path : Path
        The file, replaced as a whole each time.
    minutes : float
        Longest time between two checkpoints within an epoch (minutes); 0: after every batch.
    loader : TrainLoader
        Its place is stored here too: Lightning restores a loader in the middle of an epoch only.
    """

    def __init__(self, path: Path, minutes: float, loader: TrainLoader) -> None:
        self.path = path
        self.seconds = 60 * minutes
        self.loader = loader
        self._last = 0.0

    def _save(self, trainer: Any) -> None:
        with atomic_path(self.path) as temporary:
            trainer.save_checkpoint(temporary)
        self._last = time.perf_counter()

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Start counting."""
        self._last = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Save when it is time; after the last batch of an epoch its end does."""
        due = time.perf_counter() - self._last >= self.seconds
        if due and not trainer.is_last_batch and not trainer.should_stop:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Save."""
        self._save(trainer)

    def state_dict(self) -> dict[str, int]:
        """Place of the loader."""
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Put the loader there."""
        self.loader.load_state_dict(state)


def resumable(path: Path) -> Path | None:
    """`path` if it holds a checkpoint to continue from, None if there is none yet.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if not path.exists():
        return None
    try:
        torch.load(path, map_location="cpu", weights_only=True)["loops"]
    except Exception as error:
        raise ValueError(
            f"the checkpoint {str(path)!r} is damaged ({type(error).__name__}): delete it to train "
            "from the start, or choose another output folder"
        ) from error
    return path
