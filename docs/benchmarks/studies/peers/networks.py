"""The networks: energies of equal molecules, each as its own package builds it.

Imported by `worker` in the interpreter that has the package; every one is
``build(options) -> (module, energy)`` with ``energy(z, pos, batch)`` of shape (num_graphs,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Energy = Callable[[Tensor, Tensor, Tensor], Tensor]
SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}


def pairs(pos: Tensor, batch: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Atoms and their neighbours, both ways, within each of a few small molecules."""
    distance = torch.cdist(pos.detach(), pos.detach())
    near = (distance < cutoff) & (batch[:, None] == batch) & ~torch.eye(len(pos), dtype=torch.bool)
    i, j = near.nonzero().T
    return i, j


def hyena(mixer: str | None, options: dict[str, Any]) -> tuple[nn.Module, Energy]:
    from e3hyena import HyenaNet

    net = HyenaNet("0e", mixer=mixer, **options["hyena"])
    return net, lambda z, pos, batch: net(z, pos, batch)[:, 0]


def nequip(options: dict[str, Any]) -> tuple[nn.Module, Energy]:
    """Defaults of `NequIPGNNModel`: 4 layers, l <= 1, 32 features, parity."""
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    net = NequIPGNNModel(
        seed=0,
        model_dtype="float32",
        r_max=5.0,
        type_names=[SYMBOLS[z] for z in options["elements"]],
        avg_num_neighbors=options["neighbours"],
        do_derivatives=False,
    )
    kinds = torch.zeros(10, dtype=torch.long)
    kinds[options["elements"]] = torch.arange(len(options["elements"]))

    def energy(z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        edges = torch.stack(pairs(pos, batch, 5.0))
        data = {"pos": pos, "atom_types": kinds[z], "edge_index": edges, "batch": batch}
        data["num_atoms"] = batch.bincount()
        return net(data)["total_energy"][:, 0]

    return net, energy


def tensornet(options: dict[str, Any]) -> tuple[nn.Module, Energy]:
    """TorchMD-NET's TensorNet as its example for MD17 has it: 2 layers, 128 channels."""
    from torchmdnet.models.model import create_model

    net = create_model(
        {
            "model": "tensornet",
            "embedding_dimension": 128,
            "num_layers": 2,
            "num_rbf": 32,
            "rbf_type": "expnorm",
            "trainable_rbf": False,
            "activation": "silu",
            "cutoff_lower": 0.0,
            "cutoff_upper": 5.0,
            "max_z": 10,
            "max_num_neighbors": 32,
            "equivariance_invariance_group": "O(3)",
            "output_model": "Scalar",
            "reduce_op": "sum",
            "prior_model": None,
            "atom_filter": -1,
            "derivative": False,
            "precision": 32,
        }
    )
    return net, lambda z, pos, batch: net(z, pos, batch)[0][:, 0]


def painn(options: dict[str, Any]) -> tuple[nn.Module, Energy]:
    """SchNetPack's PaiNN as its example for MD17 has it: 3 layers, 128 channels."""
    from torch.utils.data import dataloader

    if not hasattr(dataloader, "T_co"):
        renamed: Any = dataloader  # since this schnetpack
        renamed.T_co = renamed._T_co
    from schnetpack.atomistic import Atomwise, PairwiseDistances
    from schnetpack.model import NeuralNetworkPotential
    from schnetpack.nn import CosineCutoff, GaussianRBF
    from schnetpack.representation import PaiNN

    net = NeuralNetworkPotential(
        PaiNN(128, 3, GaussianRBF(20, 5.0), CosineCutoff(5.0)),
        [PairwiseDistances()],
        [Atomwise(128, output_key="energy")],
    )

    def energy(z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        i, j = pairs(pos, batch, 5.0)
        data = {"_atomic_numbers": z, "_positions": pos, "_idx_m": batch, "_idx_i": i, "_idx_j": j}
        data |= {"_offsets": pos.new_zeros(len(i), 3), "_n_atoms": batch.bincount()}
        return net(data)["energy"]

    return net, energy


BUILD: dict[str, Callable[[dict[str, Any]], tuple[nn.Module, Energy]]] = {
    "local": lambda options: hyena(None, options),
    "coordinate": lambda options: hyena("coordinate", options),
    "nequip": nequip,
    "tensornet": tensornet,
    "painn": painn,
}
