"""One row per epoch, in memory, in the checkpoint and in ``metrics.csv``."""

import csv
import io
from pathlib import Path
from typing import Any

from torch import Tensor

from e3hyena._extras import require
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.files import write_text

pl: Any = require("lightning.pytorch", "train")


class History(pl.Callback):
    """Collects the learning curve and rewrites the CSV file after every epoch.

    The rows travel in the checkpoint, so a continued training has each epoch exactly once
    (Lightning's CSVLogger deletes the rows of the run that it continues). Losses are in the
    network's scale, metrics in the label's unit.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, Tensor | float] = {}
        self._steps = 0

    def running(self, name: str) -> float:
        """Mean of ``"loss"`` or ``"metric"`` over this epoch so far."""
        return float(self._sums.get(name, 0.0)) / max(self._steps, 1)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        """Add a step to the means of the epoch."""
        self._steps += 1
        for name, key in (("loss", "mean"), ("metric", "metric")):
            self._sums[name] = self._sums.get(name, 0.0) + outputs[key].detach()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Add a row and write the file."""
        self.rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "step": trainer.global_step,
                "seconds": round(self.clock.seconds, 3),
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "train_loss": self.running("loss"),
                "train_metric": self.running("metric"),
                **{f"val_{name}": value for name, value in module.val_metrics.items()},
            }
        )
        self._sums, self._steps = {}, 0
        if not trainer.is_global_zero:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """Rows, and the means of the unfinished epoch."""
        sums = {name: float(value) for name, value in self._sums.items()}
        return {"rows": self.rows, "sums": sums, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self._sums, self._steps = state["rows"], state["sums"], state["steps"]
