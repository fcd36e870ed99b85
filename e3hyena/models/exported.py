"""Networks as programs of plain torch: for processes that do not have this package."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from e3hyena.models.forces import energy_and_forces, energy_forces_stress
from e3hyena.ops.backends import use_backend
from e3hyena.ops.exporting import as_exporting
from e3hyena.ops.tiles import count_graphs


def export_potential(model: nn.Module, *, periodic: bool = False) -> torch.export.ExportedProgram:
    """Energy and forces (and stress) as one program, for any number of atoms, edges and graphs.

    The program takes ``(z, pos, batch, edge_index)``, as :class:`HyenaNet`, and gives
    :func:`energy_and_forces`; with cells it takes ``(z, pos, batch, edge_index, cell, shifts)``,
    ``cell`` of shape ``(num_graphs, 3, 3)``, and gives :func:`energy_forces_stress`. Edges are the
    caller's: all pairs within the cutoff; more do no harm. It holds operators of torch alone and
    checks no values. Positions have the dtype of the parameters.

    ``torch.export.export`` cannot follow a gradient inside a program; the program is traced with
    its gradient first, then exported. Networks that give no forces can be exported without this
    function, see ``docs/deployment.md``.

    Parameters
    ----------
    model : nn.Module
        A :class:`HyenaNet` with ``irreps_out="0e"``, or what `load_predictor` gives: then results
        are in units. With a mixer of sets (``coordinate``, ``linear_attention``) or none, without
        range.
    periodic : bool
        Whether cells are served, and stresses given.

    Raises
    ------
    ValueError
        If the network cannot be exported for any size.

    Examples
    --------
    >>> from e3hyena import HyenaNet
    >>> net = HyenaNet("0e", irreps_hidden="4x0e", num_layers=0, cutoff=3.0)
    >>> program = export_potential(net)
    >>> z, pos, batch = torch.tensor([8, 1, 1]), torch.randn(3, 3), torch.tensor([0, 0, 0])
    >>> edge_index = torch.tensor([[0, 1, 0, 2], [1, 0, 2, 0]])
    >>> energy, forces = program.module()(z, pos, batch, edge_index)
    >>> energy.shape, forces.shape
    (torch.Size([1, 1]), torch.Size([3, 3]))
    """
    potential = _Potential(copy.deepcopy(model).cpu().eval().requires_grad_(False))
    given = example(next(potential.parameters()).dtype, periodic)
    dynamic = torch.export.Dim.DYNAMIC
    shapes: tuple[Any, ...] = ({0: dynamic}, {0: dynamic}, {0: dynamic}, {1: dynamic})
    if periodic:
        shapes += ({0: dynamic}, {0: dynamic})
    return torch.export.export(traced(potential, given), given, dynamic_shapes=shapes)


def traced(function: nn.Module, given: tuple[Tensor, ...]) -> torch.fx.GraphModule:
    """A graph of torch's own operators, for any number of atoms, edges and graphs."""
    from torch.fx.experimental.proxy_tensor import make_fx

    with use_backend("eager"), as_exporting():
        trace = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)
        graph: torch.fx.GraphModule = trace(*given)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def save_package(program: torch.export.ExportedProgram, path: str | os.PathLike[str]) -> None:
    """Compile a program by AOTInductor, for Python or C++ with torch alone.

    ``torch._inductor.aoti_load_package(path)`` runs it in Python,
    ``torch::inductor::AOTIModelPackageLoader`` in C++: ``docs/deployment.md`` has both. The file
    holds machine code for the processor it was made on.

    Parameters
    ----------
    program : torch.export.ExportedProgram
        As :func:`export_potential` makes it.
    path : str or path
        Ending in ``.pt2``.

    Raises
    ------
    ValueError
        If the name does not end so.
    RuntimeError
        If the compiled code does not compute what the program does: the package is removed.
    """
    if Path(path).suffix != ".pt2":
        raise ValueError(f"the name of a package must end in .pt2, not {os.fspath(path)!r}")
    torch._inductor.aoti_compile_and_package(
        program,
        package_path=os.fspath(path),
        inductor_configs={"pattern_matcher": False},  # with it, torch 2.13 changes some energies
    )
    shown = program.example_inputs[0]
    _check_package(program, Path(path), example(shown[1].dtype, len(shown) > 4, (40, 3)))


def _check_package(program: Any, path: Path, given: tuple[Tensor, ...]) -> None:
    """Compilers err: see that the package computes the same, on sizes they were not shown."""
    package = torch._inductor.aoti_load_package(os.fspath(path))
    for found, expected in zip(package(*given), program.module()(*given), strict=True):
        if not (found - expected).abs().max() <= 1e-3 * (expected.abs().max() + 1e-6):
            path.unlink()
            raise RuntimeError(
                "torch's compiler made code that does not compute what this program does; "
                "torch.export.save(program, ...) keeps the program, which is right; another "
                "version of torch, or other irreps, may be compiled rightly"
            )


class _Potential(nn.Module):
    """What is traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, z: Tensor, pos: Tensor, batch: Tensor, edge_index: Tensor,
        cell: Tensor | None = None, shifts: Tensor | None = None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        if cell is None:
            return energy_and_forces(self.model, z, pos, batch, edge_index=edge_index)
        # their number is that of the graphs, and one cell no case of its own
        cell = cell.index_select(0, torch.arange(count_graphs(batch), device=cell.device))
        return energy_forces_stress(
            self.model, z, pos, batch, cell, edge_index=edge_index, shifts=shifts
        )


def example(
    dtype: torch.dtype, periodic: bool, sizes: tuple[int, int] = (5, 7)
) -> tuple[Tensor, ...]:
    """Two zigzags of hydrogen; what is dynamic has a length of its own."""
    batch = torch.arange(2).repeat_interleave(torch.tensor(sizes))
    atoms = torch.arange(sum(sizes))
    pos = torch.stack([atoms, 0.3 * (atoms % 2), 0.2 * (atoms % 3)], dim=1).to(dtype)
    near = atoms[:-1][batch[1:] == batch[:-1]]
    edge_index = torch.stack([torch.cat([near, near + 1]), torch.cat([near + 1, near])])
    if not periodic:
        return torch.ones_like(batch), pos, batch, edge_index
    cell = 20 * torch.eye(3, dtype=dtype).expand(2, 3, 3).contiguous()
    shifts = torch.zeros(edge_index.shape[1], 3, dtype=torch.long)
    return torch.ones_like(batch), pos, batch, edge_index, cell, shifts
