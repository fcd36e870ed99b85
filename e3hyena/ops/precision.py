"""Keep a computation out of autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> torch.autocast:
    """Context in which autocast is off for the device of ``x``.

    Examples
    --------
    >>> x = torch.eye(2)
    >>> with torch.autocast("cpu", torch.bfloat16), full_precision(x):
    ...     (x @ x).dtype
    torch.float32
    """
    return torch.autocast(x.device.type, enabled=False)
