"""Datasets and their order transforms, as PyG classes."""

from e3hyena.data.catalogue import Entry
from e3hyena.data.cumulenes import Cumulenes
from e3hyena.data.extract import QM9Extract
from e3hyena.data.extxyz import ExtXYZ
from e3hyena.data.md17 import MD17Ethanol
from e3hyena.data.orders import (
    ORDERS,
    BreadthFirstOrder,
    CanonicalOrder,
    DistanceOrder,
    GivenOrder,
    OrderTransform,
    RDKitOrder,
    ResidueOrder,
    SpectralOrder,
    restore_order,
    symmetry_classes,
)
from e3hyena.data.own import OwnMolecules
from e3hyena.data.qm9 import QM9
from e3hyena.data.splits import standard_split
from e3hyena.data.targets import FORCES, TARGETS, Target
from e3hyena.registry import CATALOGUE

__all__ = [
    "CATALOGUE", "FORCES", "ORDERS", "QM9", "TARGETS", "BreadthFirstOrder", "CanonicalOrder",
    "Cumulenes", "DistanceOrder", "Entry", "ExtXYZ", "GivenOrder", "MD17Ethanol", "OrderTransform",
    "OwnMolecules", "QM9Extract", "RDKitOrder", "ResidueOrder", "SpectralOrder", "Target",
    "restore_order", "standard_split", "symmetry_classes",
]  # fmt: skip
