"""Radial functions in plain torch."""

import torch
from torch import Tensor

from e3hyena.ops.radial_formula import radial_formula


def radial(distance: Tensor, number: int, cutoff: float, order: int) -> Tensor:
    """Derivatives of some order, ``(E,)`` -> ``(E, number)``."""
    return torch.stack(radial_formula(distance, number, cutoff, order, torch), dim=-1)


def radial_sum(weight: Tensor, distance: Tensor, cutoff: float, order: int) -> Tensor:
    """The same, weighted and summed, ``(E,)``."""
    return (weight * radial(distance, weight.shape[1], cutoff, order)).sum(dim=1)
