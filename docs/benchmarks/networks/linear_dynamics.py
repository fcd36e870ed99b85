"""Uniform motion: the baseline that every n-body table starts with."""

from typing import Any

import torch
from torch import Tensor, nn


class LinearDynamics(nn.Module):
    """``pos + time * vel`` with one learned time."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Parameter(torch.tensor(0.7))

    def forward(self, pos: Tensor, vel: Tensor, *_: Any) -> Tensor:
        """Positions and velocities ``(T, 3)`` -> later positions ``(T, 3)``."""
        return pos + self.time * vel
