"""Checkpoints that a killed training continues from."""

from pathlib import Path
from typing import Any

from e3hyena._digest import KEY, check_digest
from e3hyena._extras import require
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.checkpoint import load_model
from e3hyena.training.molecules import TrainLoader
from e3hyena.training.torch_files import read_torch, write_torch

pl: Any = require("lightning.pytorch", "train")
io: Any = require("lightning.pytorch.plugins.io", "train")


class CheckedFiles(io.CheckpointIO):
    """Lightning's way to its files: they carry a digest, which is checked when one is read."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write, whole or not at all."""
        write_torch(path, checkpoint)

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote; ValueError if it is damaged."""
        try:
            content = read_torch(path)
            if not isinstance(content, dict) or "loops" not in content:
                raise ValueError("it holds no state of a training")
            check_digest(content)
        except ValueError as error:
            raise ValueError(
                f"the checkpoint {str(path)!r} is damaged ({error}): delete it to train from the "
                f"start, or choose another output folder{_intact(Path(path).with_name('model.pt'))}"
            ) from error
        return {name: value for name, value in content.items() if name != KEY}

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def _intact(model: Path) -> str:
    """A note on the best weights so far, if they are there and whole."""
    try:
        load_model(model)
    except (OSError, ValueError):
        return ""
    return f"; the best weights so far, {str(model)!r}, are intact"


class Checkpoints(pl.Callback):
    """Writes the state of the trainer after every epoch and every few minutes in between.

    It must be the last callback, so that it stores what the others did after the same batch.
    """

    def __init__(self, path: Path, minutes: float, loader: TrainLoader, clock: Clock) -> None:
        self.path = path
        self.seconds = 60 * minutes
        self.loader = loader
        self.clock = clock
        self._last = 0.0

    def _save(self, trainer: Any) -> None:
        trainer.save_checkpoint(self.path)
        self._last = self.clock.seconds

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self._last = self.clock.seconds

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Save when it is time; after the last batch of an epoch its end does."""
        due = self.clock.seconds - self._last >= self.seconds
        if due and not trainer.is_last_batch and not trainer.should_stop:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self._save(trainer)

    def state_dict(self) -> dict[str, int]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.loader.load_state_dict(state)


def resumable(path: Path) -> Path | None:
    """`path` if it holds a checkpoint to continue from, None if there is none yet."""
    if not path.exists():
        return None
    CheckedFiles().load_checkpoint(path)  # now, so that nothing happens before the error
    return path
