"""What a network of atoms takes, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from e3hyena.mixers import MIXERS
from e3hyena.nn.embedding import MAX_ATOMIC_NUMBER
from e3hyena.ops.cells import Cells

if TYPE_CHECKING:
    from e3hyena.models.hyena_net import HyenaNet


def check_atoms(z: Tensor, pos: Tensor) -> None:
    """Refuse atoms that are none."""
    if pos.dim() != 2 or pos.shape[1] != 3 or z.shape != pos.shape[:1]:
        raise ValueError(
            f"z has shape {tuple(z.shape)} and pos {tuple(pos.shape)}; "
            "wanted (num_atoms,) and (num_atoms, 3)"
        )
    if z.is_floating_point():
        raise TypeError(f"atomic numbers are {z.dtype}; convert them to torch.long")
    if pos.is_meta or z.is_meta:
        return
    if not torch.isfinite(pos).all():
        rows = (~torch.isfinite(pos)).any(dim=1).nonzero().squeeze(1).tolist()
        raise ValueError(f"positions of atoms {rows[:8]} are not finite; remove or mend them")
    if len(z) and (z.min() < 1 or z.max() > MAX_ATOMIC_NUMBER):
        raise ValueError(
            f"atomic numbers run from {int(z.min())} to {int(z.max())}; "
            f"elements are 1 to {MAX_ATOMIC_NUMBER}"
        )


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
