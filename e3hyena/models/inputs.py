"""What a network of atoms takes, and what it does not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import Data

from e3hyena.mixers import MIXERS
from e3hyena.nn.embedding import MAX_ATOMIC_NUMBER
from e3hyena.ops.cells import Cells
from e3hyena.ops.exporting import exporting

if TYPE_CHECKING:
    from e3hyena.models.hyena_net import HyenaNet

_warned: list[str] = []


def of_data(
    data: Data, batch_size: int | None, cell: Tensor | None, pbc: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None, int | None, Tensor | None, Tensor | None]:
    """What a graph of PyG says; what is given beside it wins."""
    if batch_size is None and data.get("batch") is not None:
        batch_size = data.num_graphs
    cell, pbc = (data.get("cell"), data.get("pbc")) if cell is None else (cell, pbc)
    return data.get("z"), data.get("pos"), data.get("batch"), batch_size, cell, pbc


def check_atoms(
    z: Tensor | None, pos: Tensor | None, *, look: bool = True
) -> tuple[Tensor, Tensor]:
    """Atomic numbers, 0 for points, and positions; refuse atoms that are none."""
    if pos is None:
        raise ValueError("there are no positions; give z and pos, or a Data with them")
    for name, value in (("z", z), ("pos", pos)):
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}; give a torch.Tensor")
    points = z is None
    z = torch.zeros(len(pos), dtype=torch.long, device=pos.device) if z is None else z
    if pos.dim() != 2 or pos.shape[1] != 3 or z.shape != pos.shape[:1]:
        raise ValueError(
            f"z has shape {tuple(z.shape)} and pos {tuple(pos.shape)}; "
            "wanted (num_atoms,) and (num_atoms, 3)"
        )
    if z.is_floating_point():
        raise TypeError(f"atomic numbers are {z.dtype}; convert them to torch.long")
    if not look or pos.is_meta or z.is_meta or torch.compiler.is_compiling() or exporting():
        return z, pos
    if not torch.isfinite(pos).all():
        rows = (~torch.isfinite(pos)).any(dim=1).nonzero().squeeze(1).tolist()
        raise ValueError(f"positions of atoms {rows[:8]} are not finite; remove or mend them")
    if len(z) and not points and (z.min() < 1 or z.max() > MAX_ATOMIC_NUMBER):
        raise ValueError(
            f"atomic numbers run from {int(z.min())} to {int(z.max())}; "
            f"elements are 1 to {MAX_ATOMIC_NUMBER}"
        )
    return z, pos


def check_periodic(
    net: HyenaNet, cells: Cells | None, edge_index: Tensor | None, shifts: Tensor | None
) -> None:
    """Refuse a periodic cell where a result would depend on how the cell is drawn."""
    if cells is None:
        raise ValueError("shifts came without a periodic cell; pass cell=, or leave them out")
    if net.cutoff is None:
        raise ValueError(
            "a periodic cell has no centroid to which positions could be relative: build the "
            "network with a cutoff"
        )
    if net.follows_order:
        sets = ", ".join(name for name, mixer in MIXERS.items() if not mixer.ordered)
        raise ValueError(
            f"mixer={net.mixer_name!r}, boundary and short_conv follow the order in which atoms "
            "are listed, and a larger cell lists more of them: the energy per atom of a periodic "
            f"cell needs a mixer of sets ({sets}) or none, without short_conv"
        )
    if net.readout.num_moments:
        raise ValueError(
            f"irreps_out={net.irreps_out} with moments={net.moments!r} needs an origin, and a "
            "periodic cell has none: a dipole depends on how the cell is drawn; predict scalars, "
            "or pass moments=''"
        )
    if (edge_index is None) != (shifts is None):
        given, missing = ("edge_index", "shifts") if shifts is None else ("shifts", "edge_index")
        raise ValueError(
            f"{given} of a periodic cell came without {missing}; pass both, as neighbours() of "
            "e3hyena.ops returns them, or neither"
        )
    if edge_index is not None and shifts is not None and shifts.shape != (edge_index.shape[1], 3):
        raise ValueError(
            f"shifts have shape {tuple(shifts.shape)} for {edge_index.shape[1]} edges; wanted "
            "(num_edges, 3)"
        )


def warn_of_order(what: str) -> None:
    """Once per process, whatever the filters do with repeated warnings."""
    if not _warned:
        warnings.warn(
            f"{what} depends on the order in which atoms are listed, and atoms have none: take "
            "mixer='coordinate', or give the data an order (transform=SpectralOrder() and others "
            "in e3hyena.data) and pass ordered=True; see docs/order-and-symmetry.md",
            stacklevel=3,
        )
        _warned.append(what)
