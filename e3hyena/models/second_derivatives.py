"""A look at second derivatives before they are trusted on a device."""

import functools

import torch
from torch import Tensor

from e3hyena.nn.operator import HyenaOperator
from e3hyena.ops.segments import Segments

# A batch whose second derivative was once wrong on a GPU, and one for the kernels of small graphs.
_BATCHES = (1, 37, 200, 262), (1, 18, 29, 32, 30, 20)
_LIMIT = 1e-6  # relative


@functools.cache
def check_second_derivatives(device: torch.device) -> None:
    """Compare second derivatives of one ``coordinate`` operator with the CPU's, once.

    Examples
    --------
    >>> check_second_derivatives(torch.device("cpu"))
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.device("cpu"):
        torch.manual_seed(0)
        operator = HyenaOperator("8x0e + 8x1o", mixer="coordinate").double()
        batches = [(torch.randn(sum(n), 32, dtype=torch.float64), n) for n in _BATCHES]
        expected = [_second(operator, x, sizes) for x, sizes in batches]
        operator = operator.to(device)
        found = [_second(operator, x.to(device), sizes).cpu() for x, sizes in batches]
    pairs = zip(found, expected, strict=True)
    error = float(torch.stack([(x - y).norm() / y.norm() for x, y in pairs]).amax())  # nan stays
    if not error < _LIMIT:
        raise RuntimeError(
            f"second derivatives on {device} differ from the CPU's by {error:.1e}, so training on "
            "forces would follow wrong gradients there: train on the CPU (accelerator cpu), take "
            "mixer='attention' or 'linear_attention', and report this with the versions of torch, "
            "triton and the driver"
        )


def _second(operator: HyenaOperator, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    x = x.detach().requires_grad_()
    y = operator(x, Segments(sizes, x.device))
    (gradient,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    return second
