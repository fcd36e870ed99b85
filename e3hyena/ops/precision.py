"""Keep a computation out of autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Context in which autocast is off for the device of ``x``.

    Examples
    --------
    >>> x = torch.eye(2)
    >>> with torch.autocast("cpu", torch.bfloat16), full_precision(x):
    ...     (x @ x).dtype
    torch.float32
    """
    if not torch.amp.is_autocast_available(x.device.type):  # meta
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
