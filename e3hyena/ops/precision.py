"""Keep a computation out of autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast is off for the device of ``x``."""
    if x.is_meta:  # has no autocast
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
