"""Datasets and their order transforms, as PyG classes."""

from e3hyena.data.extract import QM9Extract
from e3hyena.data.extxyz import ExtXYZ
from e3hyena.data.md17 import MD17Ethanol
from e3hyena.data.nbody import NBody
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
from e3hyena.data.qm9 import QM9
from e3hyena.data.recall import Recall
from e3hyena.data.splits import standard_split
from e3hyena.data.targets import FORCES, TARGETS, Target

__all__ = [
    "FORCES",
    "ORDERS",
    "QM9",
    "TARGETS",
    "BreadthFirstOrder",
    "CanonicalOrder",
    "DistanceOrder",
    "ExtXYZ",
    "GivenOrder",
    "MD17Ethanol",
    "NBody",
    "OrderTransform",
    "QM9Extract",
    "RDKitOrder",
    "Recall",
    "ResidueOrder",
    "SpectralOrder",
    "Target",
    "restore_order",
    "standard_split",
    "symmetry_classes",
]
