"""Conservative forces: the negative gradient of a predicted energy."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


def energy_and_forces(
    model: nn.Module,
    z: Tensor,
    pos: Tensor,
    batch: Tensor | None = None,
    *,
    create_graph: bool = False,
    **arguments: Any,
) -> tuple[Tensor, Tensor]:
    r"""Energy of every graph and force on every atom.

    .. math:: F_i = -\,\partial E / \partial r_i

    Conservative by construction, and rotating with the molecule as the energy stays the same.

    Positions may come from a computation of the caller's: with ``create_graph`` energies and forces
    keep its graph, so that Hessians, derivatives by a strain and losses on geometries made upstream
    are those of differentiating the model itself. Also works where gradients are switched off, in
    ``torch.no_grad()`` and ``torch.inference_mode()``.

    Parameters
    ----------
    model : nn.Module
        ``model(z, pos, batch, **arguments)`` gives ``(num_graphs, 1)``, such as a
        :class:`HyenaNet` with ``irreps_out="0e"``.
    z : Tensor
        Atomic numbers, ``(num_atoms,)``.
    pos : Tensor
        Positions, ``(num_atoms, 3)``.
    batch : Tensor, optional
        Graph of every atom, ``(num_atoms,)``.
    create_graph : bool
        Keep what is needed to differentiate the forces again: True to train on them. Attention
        is computed without torch's fused kernels then, which have no second derivative.
    **arguments
        Passed on to the model.

    Returns
    -------
    energy : Tensor
        ``(num_graphs, 1)``; without a graph unless ``create_graph``.
    forces : Tensor
        ``(num_atoms, 3)``, in units of the energy over units of ``pos``. Zero where the energy does
        not depend on the positions.

    Raises
    ------
    ValueError
        If the model gives anything but one number per graph.

    Examples
    --------
    >>> from e3hyena import HyenaNet
    >>> net = HyenaNet("0e", irreps_hidden="8x0e + 8x1o", num_layers=1, cutoff=3.0)
    >>> water = torch.tensor([[0.0, 0.0, 0.1], [0.8, 0.0, -0.5], [-0.8, 0.0, -0.5]])
    >>> energy, forces = energy_and_forces(net, torch.tensor([8, 1, 1]), water)
    >>> energy.shape, forces.shape, bool(forces.sum(dim=0).abs().max() < 1e-5)
    (torch.Size([1, 1]), torch.Size([3, 3]), True)
    """
    kernels = sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), kernels:
        z, pos = _normal(z), _normal(pos)
        batch = None if batch is None else _normal(batch)
        arguments = {name: _normal(value) for name, value in arguments.items()}
        has_graph = pos.requires_grad
        if not has_graph:
            pos = pos.detach().requires_grad_()
        energy = model(z, pos, batch, **arguments)
        if energy.dim() != 2 or energy.shape[1] != 1:
            raise ValueError(
                f"the model gave shape {tuple(energy.shape)}; forces need one energy per graph, "
                "(num_graphs, 1): take irreps_out='0e' and pool='sum'"
            )
        if not energy.requires_grad:
            return energy, torch.zeros_like(pos)
        (gradient,) = torch.autograd.grad(
            energy.sum(),
            pos,
            create_graph=create_graph,
            retain_graph=create_graph or has_graph,  # features may share the caller's graph
            materialize_grads=True,
        )
        return (energy if create_graph else energy.detach()), -gradient


def _normal(value: Any) -> Any:
    """A tensor that autograd can save, where it was made in inference mode."""
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value
