"""Orders that do not depend on how the atoms are listed."""

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from e3hyena.data.orders.base import OrderTransform
from e3hyena.data.orders.refinement import Array, distances, rank, refine

TOLERANCE = 1e-3


class CanonicalOrder(OrderTransform):
    """Base of the orders made from elements and distances alone.

    They depend neither on the listing of the atoms nor on the frame: not on rotations, reflections
    and translations. Subclasses write :meth:`places`. Reads ``z`` and ``pos``; other attributes
    never decide. Everything is computed in float64 on the CPU, O(N^2) memory.

    Ties are broken by, in turn: element; sorted distances to the atoms of every class, refined
    until nothing changes; then one atom of the first class that is still tied is placed, and
    distances to it decide further (`refinement.rank`). What remains tied are atoms that a symmetry
    of the molecule exchanges. There the listing decides, once for all atoms that the symmetry moves
    together, so that two listings give orders related by that symmetry: invariant outputs agree,
    others agree up to the symmetry operation.

    Parameters
    ----------
    tolerance : float
        Invariants closer than this tie (distances in the unit of the positions). It must be well
        above the round-off of the positions.
    """

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        if not tolerance > 0:
            raise ValueError(f"tolerance={tolerance}: must be positive")
        self.tolerance = tolerance

    def places(self, z: Array, distance: Array) -> np.ndarray:
        """Place of every atom, ``(N,)``, from elements ``(N,)`` and distances ``(N, N)``."""
        raise NotImplementedError

    def order(self, data: Data) -> Tensor:
        """Old numbers, sorted by place.

        Raises
        ------
        ValueError
            If ``z`` or ``pos`` is missing, of a wrong shape, or not finite.
        """
        z, distance = _atoms(data, type(self).__name__)
        if not len(z):
            return torch.arange(0, device="cpu")
        return torch.from_numpy(np.argsort(self.places(z, distance)))

    def _rank(self, keys: list[Array], z: Array, distance: Array) -> np.ndarray:
        return rank([*keys, z], distance, self.tolerance)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


def symmetry_classes(data: Data, tolerance: float = TOLERANCE) -> Tensor:
    """Which atoms no invariant of elements and distances tells apart.

    Parameters
    ----------
    data : Data
        One molecule with ``z`` and ``pos``.
    tolerance : float
        Invariants closer than this tie.

    Returns
    -------
    classes : Tensor of shape (num_nodes,), int64
        Equal for atoms that a canonical order can only tell apart by breaking the symmetry.

    Examples
    --------
    >>> pos = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> symmetry_classes(Data(z=torch.tensor([8, 1, 1]), pos=pos), tolerance=0.01)
    tensor([1, 0, 0])
    """
    z, distance = _atoms(data, "symmetry_classes")
    colour = np.unique(z, return_inverse=True)[1].astype(np.int64)
    return torch.from_numpy(refine(colour, distance, tolerance))


def _atoms(data: Data, who: str) -> tuple[Array, Array]:
    """Elements and pair distances, float64."""
    missing = [key for key in ("z", "pos") if key not in data]
    if missing:
        raise ValueError(
            f"{who} needs the attributes 'z' and 'pos'; missing: {', '.join(map(repr, missing))}"
        )
    z, pos = data.z.detach().cpu(), data.pos.detach().cpu().double()
    if z.dim() != 1 or pos.shape != (len(z), 3):
        raise ValueError(
            f"z has shape {tuple(z.shape)} and pos {tuple(pos.shape)}; {who} wants (num_nodes,) "
            "and (num_nodes, 3)"
        )
    if not torch.isfinite(pos).all():
        raise ValueError(f"{who}: positions are not finite; remove or mend them")
    return z.numpy().astype(np.float64), distances(pos.numpy())
