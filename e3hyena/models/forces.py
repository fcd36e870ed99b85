"""Conservative forces and stress: derivatives of a predicted energy."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from e3hyena.models.second_derivatives import check_second_derivatives
from e3hyena.ops.exporting import exporting


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
    z, pos, batch : Tensor
        Atomic numbers, positions ``(num_atoms, 3)``, and graph of every atom (optional).
    create_graph : bool
        Keep what is needed to differentiate the forces again: True to train on them. Attention
        is computed without torch's fused kernels then, which have no second derivative. On a GPU
        second derivatives are compared with the CPU's once, see
        :func:`~e3hyena.models.second_derivatives.check_second_derivatives`.
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
    RuntimeError
        If second derivatives are wrong on this GPU.

    Examples
    --------
    >>> from e3hyena import HyenaNet
    >>> net = HyenaNet("0e", irreps_hidden="8x0e + 8x1o", num_layers=1, cutoff=3.0)
    >>> water = torch.tensor([[0.0, 0.0, 0.1], [0.8, 0.0, -0.5], [-0.8, 0.0, -0.5]])
    >>> energy, forces = energy_and_forces(net, torch.tensor([8, 1, 1]), water)
    >>> energy.shape, forces.shape, bool(forces.sum(dim=0).abs().max() < 1e-5)
    (torch.Size([1, 1]), torch.Size([3, 3]), True)
    """
    if create_graph and pos.is_cuda:
        check_second_derivatives(pos.device)
    with _differentiable(create_graph):
        z, pos, batch, arguments = _normal((z, pos, batch, arguments))
        has_graph = pos.requires_grad
        if not has_graph:
            pos = pos.detach().requires_grad_()
        energy = _energy(model(z, pos, batch, **arguments))
        (gradient,) = _gradients(energy, [pos], create_graph, has_graph)
        return (energy if create_graph else energy.detach()), -gradient


def energy_forces_stress(
    model: nn.Module,
    z: Tensor,
    pos: Tensor,
    batch: Tensor | None = None,
    cell: Tensor | None = None,
    *,
    create_graph: bool = False,
    **arguments: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Energy and stress of every periodic cell, and force on every atom.

    .. math:: F_i = -\,\partial E/\partial r_i,\qquad
              \sigma = \frac1V\,\frac{\partial E}{\partial\varepsilon},\qquad
              r_i \to r_i\,(1+\varepsilon),\quad L \to L\,(1+\varepsilon)

    for a symmetric strain :math:`\varepsilon` of positions and lattice vectors L (rows), cell by
    cell; V is the volume. Negative under pressure, as in ASE. Graphs are kept as by
    :func:`energy_and_forces`.

    Parameters
    ----------
    model : nn.Module
        ``model(z, pos, batch, cell=cell, **arguments)`` gives ``(num_graphs, 1)``, such as a
        :class:`HyenaNet` with ``irreps_out="0e"`` and a cutoff.
    z, pos, batch : Tensor
        As in :func:`energy_and_forces`.
    cell : Tensor
        Rows are lattice vectors, ``(num_graphs, 3, 3)``, or ``(3, 3)`` for all graphs.
    create_graph, **arguments
        As in :func:`energy_and_forces`; such as ``pbc``, or ``edge_index`` with ``shifts``.

    Returns
    -------
    energy, forces : Tensor
        As of :func:`energy_and_forces`.
    stress : Tensor
        ``(num_graphs, 3, 3)``, symmetric, in units of the energy over those of ``pos`` cubed.

    Raises
    ------
    ValueError
        If the model gives anything but one number per graph, if the cell is missing or has no
        volume.

    Examples
    --------
    >>> from e3hyena import HyenaNet
    >>> net = HyenaNet("0e", irreps_hidden="8x0e + 8x1o", num_layers=1, cutoff=3.0)
    >>> z, pos = torch.tensor([11, 17]), torch.tensor([[0.0, 0, 0], [2.8, 0, 0]])
    >>> cell = 2.8 * torch.tensor([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    >>> _, forces, stress = energy_forces_stress(net, z, pos, cell=cell)
    >>> bool(forces.abs().max() < 1e-4), stress.shape
    (True, torch.Size([1, 3, 3]))
    """
    if create_graph and pos.is_cuda:
        check_second_derivatives(pos.device)
    with _differentiable(create_graph):
        z, pos, batch, cell, arguments = _normal((z, pos, batch, cell, arguments))
        if cell is None or cell.shape[-2:] != (3, 3) or cell.dim() > 3:
            given = None if cell is None else tuple(cell.shape)
            raise ValueError(
                f"cell has shape {given}; a stress needs lattice vectors, (num_graphs, 3, 3)"
            )
        graph = pos.new_zeros(pos.shape[0], dtype=torch.long) if batch is None else batch
        number = cell.shape[0] if cell.dim() == 3 else int(graph.max()) + 1 if len(graph) else 1
        cell = cell.expand(number, 3, 3)
        volume = torch.linalg.det(cell).abs()
        if not exporting() and not (volume > 0).all():
            raise ValueError("a cell has no volume, and so no stress; give three lattice vectors")
        has_graph = pos.requires_grad or cell.requires_grad
        if not pos.requires_grad:
            pos = pos.detach().requires_grad_()
        strain = pos.new_zeros(number, 3, 3).requires_grad_()
        stretch = (strain + strain.transpose(1, 2)) / 2
        # row vectors times matrices, atom by atom
        strained = pos + (pos[:, None] @ stretch.index_select(0, graph))[:, 0]
        energy = _energy(model(z, strained, batch, cell=cell + cell @ stretch, **arguments))
        gradient, virial = _gradients(energy, [pos, strain], create_graph, has_graph)
        stress = virial / volume[:, None, None]
        return (energy if create_graph else energy.detach()), -gradient, stress


@contextmanager
def _differentiable(create_graph: bool) -> Iterator[None]:
    """Gradients on, whatever the caller's mode; without fused kernels for second derivatives."""
    kernels = sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), kernels:
        yield


def _energy(output: Tensor) -> Tensor:
    if output.dim() != 2 or output.shape[1] != 1:
        raise ValueError(
            f"the model gave shape {tuple(output.shape)}; forces need one energy per graph, "
            "(num_graphs, 1): take irreps_out='0e' and pool='sum'"
        )
    return output


def _gradients(
    energy: Tensor, wanted: list[Tensor], create_graph: bool, has_graph: bool
) -> tuple[Tensor, ...]:
    """Of the sum of the energies; zeros where it does not depend on what is wanted."""
    if not energy.requires_grad:
        return tuple(torch.zeros_like(each) for each in wanted)
    return torch.autograd.grad(
        energy.sum(),
        wanted,
        create_graph=create_graph,
        retain_graph=create_graph or has_graph,  # features may share the caller's graph
        materialize_grads=True,
    )


def _normal(value: Any) -> Any:
    """Tensors that autograd can save, where they were made in inference mode."""
    if isinstance(value, tuple):
        return tuple(_normal(each) for each in value)
    if isinstance(value, dict):
        return {name: _normal(each) for name, each in value.items()}
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value
