"""metatomic: networks as TorchScript, for the simulation engines that read such files."""

import copy
import math
import warnings
from typing import Any, Optional
from unittest.mock import patch

import torch
from torch import Tensor, nn

from e3hyena._extras import require
from e3hyena.models import HyenaNet
from e3hyena.models.exported import example, traced
from e3hyena.nn.embedding import MAX_ATOMIC_NUMBER
from e3hyena.ops.tiles import count_graphs
from e3hyena.training.predictor import Predictor

# torch_geometric has put a function there that TorchScript, with it metatomic, cannot read
with patch.object(torch, "index_select", torch._C._VariableFunctions.index_select):
    require("metatomic.torch", "deploy")
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)

__all__ = ["export_metatomic"]

aten = torch.ops.aten
# What TorchScript calls otherwise; other operators have the same name there.
NAMES: dict[Any, Any] = {
    aten.sym_size.int: aten.size,
    aten.sym_numel.default: aten.numel,
    aten._local_scalar_dense.default: int,
}


def export_metatomic(model: HyenaNet | Predictor, name: str = "e3hyena") -> AtomisticModel:
    """A potential for the engines that run metatomic models (ASE, LAMMPS, i-PI, torch-sim, ...).

    ``export_metatomic(model).save("potential.pt")`` writes a file that needs this package no
    more. Engines list the neighbours, in cells too, and differentiate the energy of the whole
    system, the one output, for forces and stress. The network is traced by operators of torch
    alone for any number of atoms, as by :func:`~e3hyena.models.export_potential`, and handed to
    TorchScript; it runs on the CPU, in the dtype of its parameters.

    Parameters
    ----------
    model : HyenaNet or Predictor
        A network with ``irreps_out="0e"`` and a cutoff, whose energies are eV, or what
        `load_predictor` gives: then results are in its unit. With a mixer of sets
        (``coordinate``, ``linear_attention``) or none, without range.
    name : str
        Of the model, for its users.

    Raises
    ------
    ValueError
        If the network has no cutoff or no energy per structure, or cannot be traced for any size.
    ImportError
        If the extra ``deploy`` is not installed.

    Examples
    --------
    >>> net = HyenaNet("0e", irreps_hidden="4x0e", num_layers=0, cutoff=3.0)
    >>> export_metatomic(net).capabilities().dtype
    'float32'
    """
    net: Any = model
    unit, elements = "eV", list(range(1, MAX_ATOMIC_NUMBER + 1))
    if isinstance(model, Predictor):
        net, unit, elements = model.model, model.task.unit, model.info.elements
    if net.cutoff is None or str(net.irreps_out) != "1x0e" or net.pool is None:
        raise ValueError(
            f"the network has irreps_out={net.irreps_out}, pool={net.pool!r} and "
            f"cutoff={net.cutoff}; metatomic wants an energy of neighbours within a cutoff: take "
            "'0e', 'sum' and a length"
        )
    energy = _Energy(copy.deepcopy(model).cpu().eval().requires_grad_(False))
    dtype = next(net.parameters()).dtype
    graph = traced(energy, example(dtype, periodic=True))
    for node in list(graph.graph.nodes):
        if node.target is aten.sym_constrain_range_for_size.default:
            graph.graph.erase_node(node)
        elif isinstance(node.target, torch._ops.OpOverload):
            node.target = NAMES.get(node.target, node.target.overloadpacket)
    graph.recompile()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchScript about torch.fx, and about itself
        script = torch.jit.script(_Interface(graph, float(net.cutoff)).eval())
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit=unit, sample_kind="system")},
        atomic_types=elements,
        interaction_range=math.inf if net.mixer_name else net.cutoff * len(net.layers),
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype=str(dtype).removeprefix("torch."),
    )
    return AtomisticModel(script, ModelMetadata(name=name), capabilities)


class _Energy(nn.Module):
    """What is traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, z: Tensor, pos: Tensor, batch: Tensor,
        edge_index: Tensor, cell: Tensor, shifts: Tensor,
    ) -> Tensor:  # fmt: skip
        cell = cell.index_select(0, torch.arange(count_graphs(batch), device=cell.device))
        energy: Tensor = self.model(z, pos, batch, edge_index=edge_index, cell=cell, shifts=shifts)
        return energy.to(pos.dtype)


class _Interface(nn.Module):
    """What metatomic calls; in the language of TorchScript."""

    def __init__(self, energy: nn.Module, cutoff: float) -> None:
        super().__init__()
        self.energy = energy
        self.pairs = NeighborListOptions(cutoff=cutoff, full_list=True, strict=True)

    @torch.jit.export
    def requested_neighbor_lists(self) -> list[NeighborListOptions]:
        return [self.pairs]

    def forward(
        self,
        systems: list[System],
        outputs: dict[str, ModelOutput],
        selected_atoms: Optional[Labels] = None,  # noqa: UP045
    ) -> dict[str, TensorMap]:
        results: dict[str, TensorMap] = {}
        if "energy" not in outputs:
            return results
        if selected_atoms is not None or outputs["energy"].sample_kind != "system":
            raise ValueError("this network has energies of whole systems only, not of atoms")
        z: list[Tensor] = []
        pos: list[Tensor] = []
        batch: list[Tensor] = []
        edges: list[Tensor] = []
        cells: list[Tensor] = []
        shifts: list[Tensor] = []
        start = 0
        for number, system in enumerate(systems):
            pairs = system.get_neighbor_list(self.pairs).samples.values
            z.append(system.types.to(torch.long))
            pos.append(system.positions)
            batch.append(torch.full_like(z[-1], number))
            # r_second + shift @ cell - r_first: the second atom is the one that is moved
            edges.append(start + pairs[:, :2].to(torch.long).t().flip(0))
            cells.append(system.cell)
            shifts.append(pairs[:, 2:].to(torch.long))
            start += len(system)
        energy = self.energy(
            torch.cat(z), torch.cat(pos), torch.cat(batch), torch.cat(edges, dim=1),
            torch.stack(cells), torch.cat(shifts),
        )  # fmt: skip
        device = energy.device
        block = TensorBlock(
            values=energy,
            samples=Labels("system", torch.arange(len(systems), device=device).reshape(-1, 1)),
            components=torch.jit.annotate(list[Labels], []),
            properties=Labels("energy", torch.zeros(1, 1, dtype=torch.int32, device=device)),
        )
        keys = Labels("_", torch.zeros(1, 1, dtype=torch.int32, device=device))
        results["energy"] = TensorMap(keys, [block])
        return results
