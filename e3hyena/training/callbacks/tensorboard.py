"""The learning curve as TensorBoard reads it."""

import shutil
from pathlib import Path
from typing import Any

from e3hyena._extras import require
from e3hyena.training.callbacks.history import History

pl: Any = require("lightning.pytorch", "train")


class TensorBoard(pl.Callback):
    """Writes every row of the history as event files, x axis: steps.

    A continued training writes its earlier rows anew, so that each is there once.
    """

    def __init__(self, folder: Path, history: History) -> None:
        require("tensorboard", "tensorboard")
        self.folder = folder
        self.history = history
        self._writer: Any = None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._writer = writer(str(self.folder))
        for row in self.history.rows:
            self._write(row)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self._write(self.history.rows[-1])

    def _write(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(row["step"]))
        self._writer.flush()

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        if self._writer is not None:
            self._writer.close()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.on_fit_end(trainer, module)
