"""Leaving the initial parameters, since a symmetry must hold for all of them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def perturb_parameters(module: Module, scale: float = 0.1, seed: int = 0) -> Module:
    """Add normal noise to every parameter, in place.

    Parameters
    ----------
    module : Module
        Changed, and returned.
    scale, seed : float, int
        Standard deviation and seed of the noise.

    Examples
    --------
    >>> layer = perturb_parameters(torch.nn.Linear(2, 2), seed=1)
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.add_((scale * noise).to(parameter))
    return module


def train_steps(
    module: nn.Module,
    inputs: Sequence[Any],
    steps: int = 20,
    *,
    kwargs: Mapping[str, Any] | None = None,
    learning_rate: float = 1e-2,
    seed: int = 0,
) -> list[float]:
    """Take Adam steps on the mean squared error to a random target, in place.

    Parameters
    ----------
    module : Module
        Returns one tensor; changed.
    inputs, kwargs : sequence, mapping
        Positional and keyword arguments of the module.
    steps, learning_rate : int, float
        Of Adam.
    seed : int
        Of the target.

    Returns
    -------
    losses : list of float
        Loss before each step.

    Raises
    ------
    AssertionError
        A loss or a gradient is not finite.

    Examples
    --------
    >>> losses = train_steps(torch.nn.Linear(2, 1), [torch.randn(8, 2)], steps=10)
    >>> losses[-1] < losses[0]
    True
    """
    generator = torch.Generator().manual_seed(seed)
    kwargs = dict(kwargs or {})
    with torch.no_grad():
        output = module(*inputs, **kwargs)
    target = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = (module(*inputs, **kwargs) - target).square().mean()
        loss.backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        if not all(tensor.isfinite().all() for tensor in [loss, *gradients]):
            raise AssertionError(f"loss or gradient not finite at step {step}")
        optimizer.step()
        losses.append(loss.item())
    return losses
