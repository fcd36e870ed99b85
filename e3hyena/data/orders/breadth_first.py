"""From one end of the molecule along its bonds."""

from collections import deque

import numpy as np
from torch_geometric.data.datapipes import functional_transform

from e3hyena.data.orders.canonical import TOLERANCE, CanonicalOrder
from e3hyena.data.orders.distance import centroid_distances
from e3hyena.data.orders.refinement import Array


@functional_transform("breadth_first_order")
class BreadthFirstOrder(CanonicalOrder):
    """Breadth first over the graph of close atoms, from the outermost atom (`breadth_first_order`).

    The root is the atom farthest from the centroid; the neighbours of an atom follow farthest
    first, with ties as in `CanonicalOrder`. When a connected piece is done, the farthest atom that
    is left begins the next one.

    Parameters
    ----------
    cutoff : float
        Atoms this close are neighbours, in the unit of the positions. The default in Angstrom
        joins bonded atoms of H, C, N, O and F and keeps the hydrogens of a group apart.
    tolerance : float
        As in `CanonicalOrder`.

    Examples
    --------
    >>> import torch
    >>> from torch_geometric.data import Data
    >>> pos = torch.tensor([[3.1, 0, 0], [0.0, 0, 0], [1.5, 0, 0]])
    >>> BreadthFirstOrder()(Data(z=torch.tensor([6, 6, 6]), pos=pos)).pos[:, 0]
    tensor([3.1000, 1.5000, 0.0000])
    """

    def __init__(self, cutoff: float = 1.7, tolerance: float = TOLERANCE) -> None:
        super().__init__(tolerance)
        if not cutoff > 0:
            raise ValueError(f"cutoff={cutoff}: must be positive")
        self.cutoff = cutoff

    def places(self, z: Array, distance: Array) -> np.ndarray:
        """Walk, neighbours in canonical order."""
        rank = self._rank([-centroid_distances(distance)], z, distance)
        order = np.argsort(rank)
        close = distance[order][:, order] <= self.cutoff  # rows and columns in canonical order
        places = np.full(len(z), -1)
        count = 0
        for start in range(len(z)):
            queue = deque([start] if places[start] < 0 else [])
            while queue:
                atom = queue.popleft()
                if places[atom] < 0:
                    places[atom], count = count, count + 1
                    queue.extend(np.flatnonzero(close[atom] & (places < 0)).tolist())
        result = np.empty_like(places)
        result[order] = places
        return result
