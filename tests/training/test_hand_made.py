"""A model trained on our QM9 class takes molecules that users made themselves."""

from pathlib import Path

import torch
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from e3hyena.data import QM9Extract
from e3hyena.training import load_model


def by_hand(molecule: Data) -> Data:
    """What a user types: elements and positions, nothing of our class."""
    z = torch.tensor(molecule.z.tolist())
    return Data(z=z, pos=torch.tensor(molecule.pos.tolist()))


def test_same_prediction(finished: Path) -> None:
    model, _ = load_model(finished)
    ours = QM9Extract("test")[:5]
    hand_made = [by_hand(molecule) for molecule in ours]
    assert "y" not in hand_made[0] and type(hand_made[0]) is Data
    with torch.no_grad():
        expected = torch.cat([model(data.z, data.pos) for data in ours])
        one_by_one = torch.cat([model(data.z, data.pos) for data in hand_made])
        batch = Batch.from_data_list(hand_made)
        loaded = next(iter(DataLoader(hand_made, batch_size=5)))
        assert torch.equal(one_by_one, expected)
        for data in (batch, loaded):
            y = model(data.z, data.pos, data.batch)
            torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    assert expected.abs().max() > 0
