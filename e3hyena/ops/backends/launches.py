"""Whether starting kernels, not running them, takes the time on a device."""

import torch


def few_launches(device: torch.device) -> bool:
    """Whether graphs of different size better share one padded shape there, and larger blocks.

    Examples
    --------
    >>> few_launches(torch.device("cpu")), few_launches(torch.device("cuda"))
    (False, True)
    """
    return device.type != "cpu"
