"""How far a training is, in steps and in time."""

import time
from typing import Any

from e3hyena._extras import require

pl: Any = require("lightning.pytorch", "train")


class Clock(pl.Callback):
    """Counts the seconds of a training through all its interruptions, and ends it at its limit.

    All processes have the time of the first.
    """

    def __init__(
        self, total_steps: int, max_seconds: float | None = None, first_steps: int | None = None
    ) -> None:
        self.total_steps = total_steps
        self.max_seconds = max_seconds
        self.first_steps = total_steps if first_steps is None else first_steps
        self.seconds = 0.0
        self._last = 0.0

    def progress(self, step: float) -> float:
        """Fraction of the training done after `step` steps: by count or by time, the larger."""
        by_time = 0.0 if self.max_seconds is None else self.seconds / self.max_seconds
        return min(1.0, max(step / self.total_steps, by_time))

    def scheduled(self, step: float) -> float:
        """Fraction of the schedule done; an extension has the schedule once more."""
        if step < self.first_steps or self.first_steps == self.total_steps:
            return self.progress(step * self.total_steps / self.first_steps)
        return min(1.0, (step - self.first_steps) / (self.total_steps - self.first_steps))

    def _tick(self, trainer: Any) -> None:
        now = time.perf_counter()
        self.seconds = trainer.strategy.broadcast(self.seconds + now - self._last)
        self._last = now

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self._last = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Count, and stop at the limit of time, or of steps within an epoch."""
        self._tick(trainer)
        late = self.max_seconds is not None and self.seconds >= self.max_seconds
        if late or (trainer.global_step >= self.total_steps and not trainer.is_last_batch):
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        self._tick(trainer)

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.seconds = state["seconds"]
