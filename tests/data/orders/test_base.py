"""What is re-listed, what stays, and the way back."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from e3hyena.data import ORDERS, DistanceOrder, GivenOrder, OrderTransform, restore_order


class Fixed(OrderTransform):
    """A permutation given by the test."""

    def __init__(self, order: list[int]) -> None:
        self.permutation = torch.tensor(order, dtype=torch.long)

    def order(self, data: Data) -> torch.Tensor:
        return self.permutation


def graph() -> Data:
    return Data(
        z=torch.tensor([8, 1, 7, 6]),
        pos=torch.arange(12.0).view(4, 3),
        mass=np.array([16.0, 1.0, 14.0, 12.0]),
        names=["O", "H", "N", "C"],
        smiles="CNO",
        y=torch.tensor([[1.0, 2.0, 3.0, 4.0]]),
        edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]),
        edge_attr=torch.tensor([10.0, 20.0, 30.0]),
        partner_index=torch.tensor([1, 0, 3, 2]),
    )


def test_everything_of_a_node_moves_and_nothing_else() -> None:
    before = graph()
    after = Fixed([2, 0, 3, 1])(before)
    assert after.z.tolist() == [7, 8, 6, 1]
    assert torch.equal(after.pos, before.pos[[2, 0, 3, 1]])
    assert after.mass.tolist() == [14.0, 16.0, 12.0, 1.0]
    assert after.names == ["N", "O", "C", "H"]
    assert (after.smiles, after.y.tolist()) == ("CNO", [[1.0, 2.0, 3.0, 4.0]])
    assert after.order_index.tolist() == [2, 0, 3, 1]
    assert torch.equal(after.edge_attr, before.edge_attr)
    for number in range(3):  # an edge joins the atoms that it joined
        assert after.z[after.edge_index[:, number]].equal(before.z[before.edge_index[:, number]])
    assert after.z[after.partner_index].tolist() == [6, 1, 7, 8]
    assert torch.equal(before.z, graph().z) and "order_index" not in before


def test_composition_leads_to_the_first_listing() -> None:
    before = graph()
    after = Fixed([1, 3, 0, 2])(Fixed([2, 0, 3, 1])(before))
    assert torch.equal(after.pos, before.pos[after.order_index])
    assert torch.equal(restore_order(after.pos, after), before.pos)


def test_batches_offset_the_index_and_restore() -> None:
    graphs = [Data(pos=torch.randn(n, 3), z=torch.full((n,), 6)) for n in (3, 1, 5)]
    ordered = [DistanceOrder()(one) for one in graphs]
    batch = next(iter(DataLoader(ordered, batch_size=3)))
    assert torch.equal(batch.order_index.sort().values, torch.arange(9))
    assert torch.equal(restore_order(batch.pos, batch), torch.cat([one.pos for one in graphs]))
    assert torch.equal(Batch.from_data_list(ordered)[2].order_index, ordered[2].order_index)


def test_restore_is_differentiable_and_checks() -> None:
    x = torch.randn(4, 2, requires_grad=True)
    (restore_order(x, torch.tensor([2, 0, 3, 1]))[2] ** 2).sum().backward()
    assert x.grad is not None and x.grad.any(dim=1).tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match="there is no order_index among"):
        restore_order(x, graph())
    for index in (torch.arange(3), torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 3, 4])):
        with pytest.raises(ValueError, match="is no permutation of the rows"):
            restore_order(x, index)


def test_given_order_keeps_the_listing() -> None:
    before = graph()
    after = GivenOrder()(before)
    assert after.order_index.tolist() == [0, 1, 2, 3]
    assert all(torch.equal(after[key], before[key]) for key in ("z", "pos", "edge_index"))


def test_errors() -> None:
    with pytest.raises(ValueError, match="orders one graph at a time, not a batch"):
        GivenOrder()(Batch.from_data_list([graph()]))
    with pytest.raises(ValueError, match="'adj_t' cannot be re-listed: use edge_index"):
        GivenOrder()(Data(num_nodes=2, adj_t=torch.eye(2).to_sparse()))
    for order in ([0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4]):
        with pytest.raises(ValueError, match=r"Fixed\.order gave .* no permutation of 4 nodes"):
            Fixed(order)(graph())


def test_names_are_registered_with_pyg() -> None:
    from torch_geometric.data.datapipes import DatasetAdapter

    for name in ORDERS:
        assert hasattr(DatasetAdapter([]), f"{name}_order")
    piped = list(DatasetAdapter([graph()]).distance_order(tolerance=0.1))
    assert torch.equal(piped[0].z, DistanceOrder(tolerance=0.1)(graph()).z)
