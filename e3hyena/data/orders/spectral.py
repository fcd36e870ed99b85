"""Along the slowest mode of the molecule."""

import numpy as np
from torch_geometric.data.datapipes import functional_transform

from e3hyena.data.orders.canonical import TOLERANCE, CanonicalOrder
from e3hyena.data.orders.refinement import Array

SAME_EIGENVALUE = 1e-2  # relative; closer eigenvalues share one space


@functional_transform("spectral_order")
class SpectralOrder(CanonicalOrder):
    r"""Along the Fiedler vector of a distance-weighted graph (`spectral_order`).

    The vector :math:`v` of the second smallest eigenvalue of the Laplacian with weights
    :math:`w_{ij} = (1 + d_{ij}^2/\ell^2)^{-3}` varies least between close atoms: sorted by it, the
    atoms follow the long axis of the molecule, and close atoms have close places.

    A vector has no sign, and a symmetric molecule has several. Both are settled by a root, the atom
    with the largest :math:`P_{ii}`, where P projects on the vectors of that eigenvalue (eigenvalues
    within 1 % count as one): the key is :math:`-P_{\text{root},i}`, so that the root comes first.
    For a single vector this is :math:`v`, with the sign that makes its largest entry negative.

    Parameters
    ----------
    length : float
        :math:`\ell`, in the unit of the positions.
    tolerance : float
        As in `CanonicalOrder`, which also tells how ties are broken.

    Examples
    --------
    >>> import torch
    >>> from torch_geometric.data import Data
    >>> pos = torch.tensor([[2.0, 0, 0], [0, 0, 0], [4.5, 0, 0], [1, 0, 0]])
    >>> SpectralOrder()(Data(z=torch.tensor([6, 6, 6, 6]), pos=pos)).pos[:, 0]
    tensor([4.5000, 2.0000, 1.0000, 0.0000])
    """

    def __init__(self, length: float = 1.5, tolerance: float = TOLERANCE) -> None:
        super().__init__(tolerance)
        if not length > 0:
            raise ValueError(f"length={length}: must be positive")
        self.length = length

    def places(self, z: Array, distance: Array) -> np.ndarray:
        """Find the root, then sort along the vector."""
        n = len(z)
        if n == 1:
            return np.zeros(1, dtype=np.int64)
        projector = n * self._projector(distance)  # entries of order one
        root = int(np.argmin(self._rank([-projector.diagonal()], z, distance)))
        others = np.ones(n)
        others[root] = 0
        along = -projector[root] / np.sqrt(projector[root, root])
        return self._rank([others, along], z, distance)

    def _projector(self, distance: Array) -> Array:
        """On the eigenvectors of the second smallest eigenvalue, ``(N, N)``."""
        n = len(distance)
        weight = (1 + (distance / self.length) ** 2) ** -3
        weight[np.diag_indices(n)] = 0
        laplacian = np.diag(np.sort(weight, axis=1).sum(axis=1)) - weight
        # The constant vector, whose eigenvalue is zero, is lifted above all others.
        value, vector = np.linalg.eigh(laplacian + 2 * np.trace(laplacian) / n)
        steps = np.diff(value[:-1]) > SAME_EIGENVALUE * value[1:-1] + 1e-9 * value[-1]
        size = int(np.argmax(steps)) + 1 if steps.any() else n - 1
        return vector[:, :size] @ vector[:, :size].T
