"""The learning curve for TensorBoard or Weights & Biases, through Lightning's loggers."""

import shutil
from pathlib import Path
from typing import Any

from e3hyena._extras import require
from e3hyena.training.callbacks.history import History

pl: Any = require("lightning.pytorch", "train")


# The package, its class in Lightning, and the arguments for a folder.
LOGGERS: dict[str, tuple[str, str, Any]] = {
    "tensorboard": (
        "tensorboard",
        "TensorBoardLogger",
        lambda folder: {"save_dir": folder, "name": "tensorboard", "version": ""},
    ),
    "wandb": (
        "wandb",
        "WandbLogger",
        lambda folder: {"save_dir": folder, "project": "e3hyena", "name": str(folder)},
    ),
}


class Log(pl.Callback):
    """Hands every row of the history to a logger, x axis: steps.

    A continued training writes its earlier rows anew, so that each is there once.
    """

    def __init__(self, name: str, folder: Path, history: History) -> None:
        package, self.kind, self.arguments = LOGGERS[name]
        require(package, name)
        self.folder = folder
        self.history = history
        self._logger: Any = None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
        loggers = require("lightning.pytorch.loggers", "train")
        self._logger = getattr(loggers, self.kind)(**self.arguments(self.folder))
        for row in self.history.rows:
            self._write(row)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self._write(self.history.rows[-1])

    def _write(self, row: dict[str, float]) -> None:
        values = {name: value for name, value in row.items() if name != "step"}
        self._logger.log_metrics(values, int(row["step"]))
        self._logger.save()

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        if self._logger is not None:
            self._logger.finalize("success")
            if self.kind == "WandbLogger":
                self._logger.experiment.finish()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.on_fit_end(trainer, module)
