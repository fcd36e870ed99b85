"""A running average of the weights, for validation and for keeping."""

from typing import Any

import torch
from torch import Tensor

from e3hyena._extras import require

pl: Any = require("lightning.pytorch", "train")


class WeightAverage(pl.Callback):
    """Exponential moving average of the weights; validation runs on the average.

    After step t the average moves by ``1 - min(decay, (1 + t) / (10 + t))`` towards the weights, so
    that early validations do not see the initial weights.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Start from the initial weights, or put the restored average on the right device."""
        for name, weight in module.model.state_dict().items():
            source = self.average.get(name, weight)
            self.average[name] = source.detach().to(weight.device, copy=True)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        """Move the average."""
        step = trainer.global_step
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        state = module.model.state_dict()
        torch._foreach_lerp_(
            [self.average[name] for name in state], [state[name] for name in state], weight
        )

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self._live = {name: w.detach().clone() for name, w in module.model.state_dict().items()}
        module.model.load_state_dict(self.average)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        module.model.load_state_dict(self._live)
        self._live = {}

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.average = dict(state)
