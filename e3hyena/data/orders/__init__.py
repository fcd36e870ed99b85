"""Orders of the nodes of a graph, as PyG transforms."""

from e3hyena.data.orders.base import OrderTransform
from e3hyena.data.orders.breadth_first import BreadthFirstOrder
from e3hyena.data.orders.canonical import CanonicalOrder, symmetry_classes
from e3hyena.data.orders.distance import DistanceOrder
from e3hyena.data.orders.given import GivenOrder
from e3hyena.data.orders.rdkit_rank import RDKitOrder
from e3hyena.data.orders.residue import ResidueOrder
from e3hyena.data.orders.restore import restore_order
from e3hyena.data.orders.spectral import SpectralOrder
from e3hyena.registry import ORDERS

__all__ = [
    "ORDERS", "BreadthFirstOrder", "CanonicalOrder", "DistanceOrder", "GivenOrder",
    "OrderTransform", "RDKitOrder", "ResidueOrder", "SpectralOrder", "restore_order",
    "symmetry_classes",
]  # fmt: skip
