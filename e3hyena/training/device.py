"""Where to compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """Let torch use `number` threads inside, and as many as before afterwards; None: no change.

    Examples
    --------
    >>> with cpu_threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_of(accelerator: str) -> str:
    """Name of the device for "auto", "cpu" or "gpu".

    Examples
    --------
    >>> device_of("cpu")
    'cpu'
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ValueError(f"accelerator = {accelerator!r}: must be 'auto', 'cpu' or 'gpu'")
    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise ValueError("accelerator = 'gpu', but torch finds no GPU here: use 'auto' or 'cpu'")
    return "cuda" if available and accelerator != "cpu" else "cpu"
