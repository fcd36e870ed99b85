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


@pytest.mark.parametrize(
    "extra",
    [
        {"mol_index": 5},
        {"mol_index": "five"},
        {"mol_index": None},
        {"mol_index": torch.tensor(5)},
        {"mol_index": torch.tensor([57])},
        {"mol_index": [57, 3]},
        {"refractive_index": 1.33},
        {"refractive_index": torch.tensor([1.33])},
        {"face": "north"},
        {"index_mask": torch.tensor([True])},
        {"empty_index": torch.zeros(2, 0, dtype=torch.long)},
        {"name": "four"},  # as many letters as atoms
        {"source": {"program": "xtb"}},
        {"flag": True},
        {"level": 3.5},
    ],
)
def test_attributes_of_the_graph_stay(extra) -> None:
    before = Data(**graph().to_dict(), **extra)
    after = Fixed([2, 0, 3, 1])(before)
    (key,) = extra
    assert str(getattr(after, key, None)) == str(getattr(before, key, None))
    assert after.z.tolist() == [7, 8, 6, 1]
    assert DistanceOrder()(before).num_nodes == 4


def test_sizes_that_coincide() -> None:
    """Three atoms, three edges, three numbers of everything."""
    before = Data(
        z=torch.tensor([8, 1, 6]),
        pos=torch.arange(9.0).view(3, 3),
        force=torch.arange(9.0).view(3, 3),
        charges=[0.1, 0.2, 0.3],
        cell=torch.arange(9.0).view(3, 3),
        pbc=torch.tensor([True, False, False]),
        stress=torch.arange(9.0).view(3, 3),
        dipole=torch.tensor([1.0, 2.0, 3.0]),
        edge_index=torch.tensor([[0, 1, 2], [1, 2, 0]]),
        edge_attr=torch.tensor([10.0, 20.0, 30.0]),
        edge_names=["a", "b", "c"],
        bond_order=torch.tensor([1, 2, 3]),
        triplet_index=torch.tensor([[0, 1, 2]] * 3),
        face=torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]]),
    )
    after = Fixed([2, 0, 1])(before)
    assert after.z.tolist() == [6, 8, 1] and after.charges == [0.3, 0.1, 0.2]
    for key in ("pos", "force"):
        assert torch.equal(after[key], before[key][[2, 0, 1]])
    for key in ("cell", "pbc", "stress", "dipole", "edge_attr", "edge_names", "bond_order"):
        assert str(after[key]) == str(before[key])
    for key in ("edge_index", "triplet_index", "face"):
        assert torch.equal(after.z[after[key]], before.z[before[key]])
    per_atom = Data(pos=torch.zeros(3, 3), dipole=torch.arange(9.0).view(3, 3))
    assert torch.equal(Fixed([2, 0, 1])(per_atom).dipole, per_atom.dipole[[2, 0, 1]])


def test_a_class_of_data_says_what_its_attributes_are() -> None:
    class Molecule(Data):
        def __inc__(self, key, value, *args, **kwargs):
            if key == "mol_index":
                return 0
            return self.num_nodes if key == "root" else super().__inc__(key, value, *args, **kwargs)

        def __cat_dim__(self, key, value, *args, **kwargs):
            return 1 if key == "modes" else super().__cat_dim__(key, value, *args, **kwargs)

    before = Molecule(
        pos=torch.zeros(4, 3),
        mol_index=torch.tensor([3]),
        root=torch.tensor([3]),
        modes=torch.arange(8).view(2, 4),
    )
    after = Fixed([2, 0, 3, 1])(before)
    assert after.mol_index.tolist() == [3] and after.root.tolist() == [2]
    assert after.modes.tolist() == [[2, 0, 3, 1], [6, 4, 7, 5]]


def test_edges_to_nodes_that_are_not_there() -> None:
    before = Data(num_nodes=2, edge_index=torch.tensor([[0, 1], [1, 7]]))
    with pytest.raises(ValueError, match="edge_index holds 0 to 7, but there are 2 nodes"):
        Fixed([1, 0])(before)


@pytest.mark.parametrize("name", sorted(set(ORDERS) - {"residue"}))
def test_any_default_device(name) -> None:
    before = Data(z=torch.tensor([8, 1, 1]), pos=torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 1, 0]]))
    expected = ORDERS[name]()(before)
    torch.set_default_device("meta")
    try:
        after = ORDERS[name]()(before)
        assert after.pos.device.type == after.order_index.device.type == "cpu"
    finally:
        torch.set_default_device(None)
    assert torch.equal(after.pos, expected.pos)
