"""From the centre outwards."""

import numpy as np
from torch_geometric.data.datapipes import functional_transform

from e3hyena.data.orders.canonical import CanonicalOrder
from e3hyena.data.orders.refinement import Array


def centroid_distances(distance: Array) -> Array:
    r"""Distances to the centroid from pair distances, ``(N, N)`` -> ``(N,)``.

    .. math:: |r_i - \bar r|^2 = \frac1N \sum_j d_{ij}^2 - \frac1{2N^2} \sum_{jk} d_{jk}^2

    Sums run over sorted terms, so that their rounding does not depend on the listing.
    """
    means = np.sort(distance**2, axis=1).mean(axis=1)
    return np.sqrt(np.maximum(means - 0.5 * np.sort(means).mean(), 0))


@functional_transform("distance_order")
class DistanceOrder(CanonicalOrder):
    """By distance to the centroid of all atoms, each with the same weight (`distance_order`).

    Hydrogens count like other atoms. Ties and parameters as in `CanonicalOrder`.

    Examples
    --------
    >>> import torch
    >>> from torch_geometric.data import Data
    >>> pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2.2, 0, 0]])
    >>> DistanceOrder()(Data(z=torch.tensor([1, 6, 7]), pos=pos)).z
    tensor([6, 1, 7])
    """

    def places(self, z: Array, distance: Array) -> np.ndarray:
        """Sort by distance to the centroid."""
        return self._rank([centroid_distances(distance)], z, distance)
