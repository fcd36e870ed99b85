"""Training steps as CUDA graphs: without Python, for which small networks wait otherwise."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from e3hyena.training.padding import Padded

Step = Callable[[Padded], tuple[Tensor, Tensor]]


class Captured:
    """A step, captured once for every shape of a batch and replayed for the others.

    `step` gives a loss, whose gradients by the parameters of `model` are captured too, and a
    number beside it.
    """

    def __init__(self, model: nn.Module, step: Step) -> None:
        self.model, self.step = model, step
        self._graphs: dict[Any, Callable[..., tuple[Tensor, Tensor]]] = {}
        self._pool: Any = None

    def __call__(self, batch: Padded) -> tuple[Tensor, Tensor]:
        tensors = [x for x in batch if isinstance(x, Tensor)]
        shapes = tuple(x.shape for x in tensors)
        if shapes not in self._graphs:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graphed: Any = torch.cuda.make_graphed_callables(
                Pure(self.model, self.step, batch),
                tuple(x.clone() for x in tensors),
                allow_unused_input=True,
                pool=self._pool,
            )
            self._graphs[shapes] = graphed
        return self._graphs[shapes](*tensors)


class Pure(nn.Module):
    """A step as a module that takes the tensors of a batch alone."""

    def __init__(self, model: nn.Module, step: Step, like: Padded) -> None:
        super().__init__()
        self.model, self.step, self.like = model, step, like

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the number beside it."""
        rest = iter(tensors)
        return self.step(
            Padded._make(next(rest) if isinstance(x, Tensor) else x for x in self.like)
        )
