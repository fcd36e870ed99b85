"""Keep a computation out of autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast is off for the device of ``x``."""
    if not torch.amp.is_autocast_available(x.device.type):  # meta
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
