"""Chain, residue, atom."""

import pytest
import torch
from torch_geometric.data import Data

from e3hyena.data import ResidueOrder

CHAIN = ["B", "A", "A", "B", "A"]
RESIDUE = torch.tensor([1, 2, -1, 1, 2])


def test_chain_then_residue_then_listing() -> None:
    data = Data(chain=CHAIN, residue=RESIDUE, pos=torch.randn(5, 3))
    after = ResidueOrder()(data)
    assert after.order_index.tolist() == [2, 1, 4, 0, 3]
    assert after.chain == ["A", "A", "A", "B", "B"]
    assert torch.equal(after.pos, data.pos[after.order_index])


def test_serial_makes_it_independent_of_the_listing() -> None:
    serial = torch.tensor([7, 6, 9, 3, 5])
    data = Data(chain=torch.tensor([1, 0, 0, 1, 0]), residue=RESIDUE, serial=serial, num_nodes=5)
    listing = torch.tensor([3, 1, 4, 0, 2])
    other = Data(**{key: data[key][listing] for key in ("chain", "residue", "serial")}, num_nodes=5)
    assert ResidueOrder()(data).serial.tolist() == [9, 5, 6, 3, 7]
    assert ResidueOrder()(other).serial.tolist() == [9, 5, 6, 3, 7]


def test_errors() -> None:
    with pytest.raises(ValueError, match="one entry per atom; missing: 'chain', 'residue'"):
        ResidueOrder()(Data(pos=torch.eye(3)))
    with pytest.raises(ValueError, match="missing: 'residue'"):
        ResidueOrder()(Data(chain=CHAIN, num_nodes=5))
    with pytest.raises(ValueError, match=r"'residue' has shape \(5, 1\)"):
        ResidueOrder()(Data(chain=CHAIN, residue=RESIDUE[:, None], num_nodes=5))
    with pytest.raises(TypeError, match=r"'residue' holds float32 values; .* wants integers$"):
        ResidueOrder()(Data(chain=CHAIN, residue=RESIDUE.float(), num_nodes=5))
    assert ResidueOrder()(Data(chain=[], residue=RESIDUE[:0], num_nodes=0)).num_nodes == 0
