"""Datasets and their order transforms, as PyG classes."""

from e3hyena.data.extract import QM9Extract
from e3hyena.data.qm9 import QM9
from e3hyena.data.splits import standard_split
from e3hyena.data.targets import TARGETS, Target

__all__ = ["QM9", "TARGETS", "QM9Extract", "Target", "standard_split"]
