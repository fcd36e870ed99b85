"""A module on a device against itself on the CPU in float64: value and gradients of two orders."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from e3hyena.models import energy_and_forces
from e3hyena.ops.segments import Segments

LIMITS = {torch.float64: 1e-9, torch.float32: 2e-4}
BATCHES = {
    "large": (1, 37, 200, 262),
    "molecules": (18, 9, 27, 3, 18, 21) * 8,
    "empty and single": (0, 1, 5, 0, 1),
    "one token": (1,),
}


def of_features(module: nn.Module, lengths: tuple[int, ...]) -> list[Tensor]:
    """Of a module of features: result, its gradient by the input, that of its square by all."""
    parameter = next(module.parameters())
    generator = torch.Generator().manual_seed(1)
    shape = sum(lengths), module.irreps_in.dim
    x, cotangent = (torch.randn(shape, generator=generator).to(parameter) for _ in range(2))
    x.requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):  # the other kernels have no second derivative
        y = module(x, Segments(lengths, x.device))
        (gradient,) = torch.autograd.grad((y * cotangent).sum(), x, create_graph=True)
        return [y, gradient, *_second(gradient, [x, *module.parameters()])]


def of_atoms(net: nn.Module, lengths: tuple[int, ...]) -> list[Tensor]:
    """Of a network of atoms: energies, forces, gradient of squared forces by the parameters."""
    parameter = next(net.parameters())
    generator = torch.Generator().manual_seed(1)
    pos = 2 * torch.randn(sum(lengths), 3, generator=generator).double()
    z = torch.randint(1, 10, (sum(lengths),), generator=generator).to(parameter.device)
    segments = Segments(lengths, parameter.device)
    energy, forces = energy_and_forces(net, z, pos.to(parameter), segments, create_graph=True)
    return [energy, forces, *_second(forces, list(net.parameters()))]


def _second(gradient: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    square = gradient.square().sum()
    return list(torch.autograd.grad(square, leaves, materialize_grads=True, allow_unused=True))


def errors(module: nn.Module, of, lengths: tuple[int, ...], device: str, dtype) -> list[float]:
    """Relative errors of value, gradient and second derivatives on the device."""
    module = module.double()
    tested = copy.deepcopy(module).to(device, dtype)
    expected = of(module, lengths)
    found = of(tested, lengths)
    assert all(x.dtype == dtype for x in found)
    groups = (slice(0, 1), slice(1, 2), slice(2, None))
    return [_error(found[group], expected[group]) for group in groups]


def _error(found: list[Tensor], expected: list[Tensor]) -> float:
    pairs = [(a.detach().double().cpu(), b.detach()) for a, b in zip(found, expected, strict=True)]
    if not all(a.isfinite().all() for a, _ in pairs):
        return float("inf")
    size = max((float(b.abs().max()) for _, b in pairs if b.numel()), default=0.0)
    off = max((float((a - b).abs().max()) for a, b in pairs if b.numel()), default=0.0)
    return off / size if size else off
