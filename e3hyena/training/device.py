"""Where to compute."""

import torch

__all__ = ["device_of"]


def device_of(accelerator: str) -> str:
    """Name of the device for "auto", "cpu" or "gpu".

    Raises
    ------
    ValueError
        If the word is another, or "gpu" is asked for where there is none.

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
