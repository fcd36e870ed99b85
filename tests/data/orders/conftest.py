"""Molecules, and the same molecules listed and placed in another way."""

import pytest
import torch
from torch_geometric.data import Data

from e3hyena.data import QM9Extract
from e3hyena.testing import random_element


@pytest.fixture(scope="session")
def molecules() -> list[Data]:
    """Twenty of the embedded ones."""
    dataset = QM9Extract("test")
    return [dataset[i] for i in range(20)]


def relist(data: Data, seed: int) -> Data:
    """The same molecule, its atoms listed at random."""
    listing = torch.randperm(len(data.z), generator=torch.Generator().manual_seed(seed))
    return Data(z=data.z[listing], pos=data.pos[listing])


def move(data: Data, seed: int) -> Data:
    """The same molecule, rotated, shifted, and for odd seeds reflected; exact to float64."""
    element = random_element(seed, inversion=seed % 2 == 1, translation_scale=5.0)
    return Data(z=data.z, pos=element(data.pos.double(), "cartesian_points"))
