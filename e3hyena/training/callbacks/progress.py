"""What the terminal shows while training."""

import sys
from typing import Any

from e3hyena._extras import require
from e3hyena.data.targets import Target
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.callbacks.history import History
from e3hyena.training.tasks import metric_labels

pl: Any = require("lightning.pytorch", "train")


class Progress(pl.Callback):
    """One bar over the whole training on a terminal; otherwise one line per epoch."""

    def __init__(self, title: str, clock: Clock, history: History, epochs: int) -> None:
        self.title = title
        self.clock = clock
        self.history = history
        self.epochs = epochs
        self._bar: Any = None
        self._validated: float | None = None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        if sys.stderr.isatty():
            tqdm = require("tqdm", "train").tqdm
            self._bar = tqdm(
                total=self.clock.total_steps,
                initial=trainer.global_step,
                desc=self.title,
                unit="step",
                dynamic_ncols=True,
            )

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        """Move the bar; early numbers are the training error of this epoch so far."""
        if self._bar is not None:
            self._bar.update()
            if trainer.global_step % 10 == 0:
                self._bar.set_postfix(self._shown(module.task))

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Show the validation (after `History` made the row)."""
        row = self.history.rows[-1]
        name, label = next(iter(metric_labels(module.task).items()))
        self._validated = row[f"val_{name}"]
        if self._bar is None:
            left = self.clock.seconds * (1 / max(self.clock.progress(row["step"]), 1e-9) - 1)
            print(
                f"{self.title}  epoch {row['epoch']}/{self.epochs}  "
                f"train {row['train_metric']:.4g}  val {self._validated:.4g}  {label}  "
                f"{row['seconds']:.0f} s, {left:.0f} s left",
                flush=True,
            )

    def _shown(self, task: Target) -> dict[str, str]:
        numbers = {"train": self.history.running("metric"), "val": self._validated}
        return {
            name: f"{value:.4g} {task.unit}" for name, value in numbers.items() if value is not None
        }

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.on_fit_end(trainer, module)
        if isinstance(exception, KeyboardInterrupt):
            print("interrupted: the same command again continues from the last checkpoint")
