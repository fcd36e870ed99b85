import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.data import TARGETS, QM9Extract
from e3hyena.training.molecules import EvalLoader, Molecules, TrainLoader


@pytest.fixture(scope="module")
def dataset():
    return QM9Extract("test")


@pytest.fixture(scope="module")
def molecules(dataset):
    return Molecules.from_dataset(dataset, TARGETS["dipole"], 20, "data.test")


def test_every_molecule_is_one_of_the_dataset(dataset, molecules):
    known = {tuple(item.pos.flatten().tolist()): item for item in dataset}
    for part in EvalLoader(molecules, 1):
        item = known[tuple(part.pos.flatten().tolist())]
        assert torch.equal(part.z, item.z) and torch.equal(part.label, item.dipole)


def test_a_smaller_part_is_contained_in_a_larger_one(dataset, molecules):
    smaller = Molecules.from_dataset(dataset, TARGETS["dipole"], 7, "data.test")
    assert torch.equal(smaller.label, molecules.label[:7])


def test_more_than_there_is_is_refused(dataset):
    with pytest.raises(ValueError, match=r"data\.test_size = 99999, but this split has 2000"):
        Molecules.from_dataset(dataset, TARGETS["dipole"], 99999, "data.test")


def test_select_takes_molecules_in_the_order_asked_for(molecules):
    graphs = torch.tensor([4, 0, 4])
    part = molecules.select(graphs)
    for place, graph in enumerate(graphs.tolist()):
        own = slice(int(molecules.ptr[graph]), int(molecules.ptr[graph + 1]))
        assert torch.equal(part.pos[part.batch == place], molecules.pos[own])
        assert torch.equal(part.z[part.batch == place], molecules.z[own])


@given(st.integers(1, 25), st.integers(0, 9))
def test_a_pass_holds_every_molecule_once(molecules, batch_size, seed):
    loader = TrainLoader(molecules, batch_size, seed)
    found = torch.cat([part.label for part in loader])
    assert loader.step == len(loader)
    assert sorted(found.tolist()) == sorted(molecules.label.tolist())


def test_passes_and_seeds_have_orders_of_their_own(molecules):
    loader = TrainLoader(molecules, 20, 0)
    orders = [next(iter(loader)).label.tolist() for _ in range(2)]
    orders.append(next(iter(TrainLoader(molecules, 20, 1))).label.tolist())
    assert orders[0] != orders[1] != orders[2] != orders[0]


@given(st.integers(0, 11))
def test_continuing_gives_the_batches_that_were_left(molecules, step):
    through, continued = TrainLoader(molecules, 6, 0), TrainLoader(molecules, 6, 0)
    expected = [part.label for _ in range(3) for part in through]
    continued.load_state_dict({"step": step})
    found: list[torch.Tensor] = []
    while len(found) < len(expected) - step:
        found.extend(part.label for part in continued)
    assert all(map(torch.equal, found, expected[step:]))
