"""Keeps the weights with the smallest validation error as a model file."""

from pathlib import Path
from typing import Any

from e3hyena._extras import require
from e3hyena.training.callbacks.ema import WeightAverage
from e3hyena.training.callbacks.history import History
from e3hyena.training.checkpoint import ModelInfo, save_model
from e3hyena.training.tasks import metric_labels

pl: Any = require("lightning.pytorch", "train")


class KeepBest(pl.Callback):
    """Writes the averaged weights whenever the first validation metric is the smallest so far."""

    def __init__(
        self, path: Path, info: ModelInfo, history: History, average: WeightAverage
    ) -> None:
        self.path = path
        self.info = info
        self.history = history
        self.average = average

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Save if this epoch is the best."""
        name = f"val_{next(iter(metric_labels(self.info.task)))}"
        values = [row[name] for row in self.history.rows]
        if values[-1] == min(values):
            save_model(self.path, self.average.average, self.info)
