"""The precision in which a module computes, whatever it is given."""

import torch
from torch import Tensor, nn


def to_working(x: Tensor, module: nn.Module) -> Tensor:
    """``x`` in at least float32, the dtype of the parameters it will meet."""
    working = torch.promote_types(x.dtype, torch.float32)
    parameter = next(module.parameters(), None)
    if parameter is not None and parameter.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(
            f"the parameters of {type(module).__name__} are {parameter.dtype}, in which symmetry "
            "would be lost to rounding: keep them in float32 (module.float()); inputs may be half, "
            "and autocast or Lightning's precision='bf16-mixed' work"
        )
    if parameter is not None and parameter.dtype != working:
        raise TypeError(
            f"inputs of {x.dtype} are computed in {working}, but the parameters of "
            f"{type(module).__name__} are {parameter.dtype}; call module.to({working}) "
            "or convert the inputs"
        )
    return x.to(working)
