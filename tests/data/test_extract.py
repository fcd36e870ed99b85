import numpy as np
import pytest
import torch
from benchmarks.data import build_extract
from e3nn import o3
from torch_geometric.data import InMemoryDataset
from torch_geometric.datasets import QM9 as PyGQM9
from torch_geometric.loader import DataLoader

from e3hyena.data import TARGETS, QM9Extract, standard_split
from e3hyena.data.extract import FILE
from e3hyena.data.qm9pack import Table


@pytest.fixture(scope="module")
def dataset():
    return QM9Extract()


def test_fields(dataset):
    molecule = dataset[7]
    n = molecule.num_nodes
    expected = {
        "z": (torch.int64, (n,)),
        "pos": (torch.float32, (n, 3)),
        "y": (torch.float32, (1, 19)),
        "idx": (torch.int64, (1,)),
        "dipole": (torch.float32, (1, 3)),
        "charges": (torch.float32, (n,)),
    }
    for field, (dtype, shape) in expected.items():
        assert (molecule[field].dtype, tuple(molecule[field].shape)) == (dtype, shape), field
    assert set(molecule.keys()) == {*expected, "smiles", "name"}
    assert molecule.name == f"gdb_{int(molecule.idx) + 1}"
    assert isinstance(molecule.smiles, str)


def test_collated_as_pyg_does(dataset):
    some = [dataset[i] for i in range(20)]
    reference, slices = InMemoryDataset.collate(some)
    for key in some[0].keys():
        assert torch.equal(slices[key].long(), dataset.slices[key][:21]), key
        stored = dataset._data[key][: int(slices[key][-1])]
        assert (
            torch.equal(stored, reference[key])
            if torch.is_tensor(stored)
            else stored == reference[key]
        ), key


def test_splits(dataset):
    ids = {}
    for split, size in build_extract.SIZES.items():
        part = QM9Extract(split)
        ids[split] = {int(molecule.idx) + 1 for molecule in part}
        assert len(part) == len(ids[split]) == size
        assert ids[split] <= set(standard_split(split).tolist())
    everything = {int(i) + 1 for i in dataset.idx}
    assert set.union(*ids.values()) == everything
    assert everything == set(build_extract.draw().tolist())


def test_unknown_split():
    with pytest.raises(ValueError, match="got 'all'"):
        QM9Extract("all")


def test_represents_qm9(dataset):
    """Random members: mean and spread of all of QM9 within four standard errors."""
    error = 1.5035 / len(dataset) ** 0.5
    assert abs(dataset.mean(0) - 2.6730) < 4 * error
    assert abs(dataset.std(0) - 1.5035) < 4 * error
    sizes = dataset.slices["z"].diff()
    assert (int(sizes.min()), int(sizes.max())) == (3, 29)
    assert set(dataset.z.unique().tolist()) == {1, 6, 7, 8, 9}


def test_water(dataset):
    """Published: |mu| 1.8511 D, U0 -76.404702 Hartree; GFN2 adds a vector along the C2 axis."""
    water = dataset[0]
    assert water.smiles == "O"
    assert water.z.tolist() == [8, 1, 1]
    assert float(water.y[0, 0]) == pytest.approx(1.8511, rel=1e-6)
    assert float(water.y[0, 7]) == pytest.approx(-76.404702 * 27.211386246, rel=1e-7)
    axis = water.pos[1:].mean(0) - water.pos[0]
    cosine = torch.cosine_similarity(axis, water.dipole[0], dim=0)
    assert float(cosine) == pytest.approx(1.0, abs=1e-4)


def test_dipole_belongs_to_the_frame_of_pos(dataset):
    """Point charges in the same frame explain the vector, component by component."""
    test = dataset[::10]
    of_charges = torch.stack([4.80320 * m.charges @ m.pos for m in test])
    dipole = torch.cat([m.dipole for m in test])
    correlation = np.corrcoef(of_charges.T, dipole.T)[:3, 3:]
    assert (correlation.diagonal() > 0.95).all()
    assert (np.abs(correlation - np.diag(correlation.diagonal())) < 0.3).all()


def test_dipole_norm_follows_mu(dataset):
    norm = dataset.dipole.norm(dim=1).double()
    assert np.corrcoef(norm, dataset.y[:, 0])[0, 1] > 0.95


def test_charges_sum_to_zero(dataset):
    total = torch.stack([molecule.charges.double().sum() for molecule in dataset[::50]])
    assert float(total.abs().max()) < 29 * 0.5e-4
    assert float(dataset.charges.std()) > 0.1


def test_statistics_as_pyg(dataset):
    part = QM9Extract("val")[:200]
    shuffled = part.shuffle()
    for target in (0, 7, 12):
        y = torch.cat([molecule.y for molecule in part])[:, target]
        assert part.mean(target) == pytest.approx(float(y.mean()), rel=1e-6)
        assert part.std(target) == pytest.approx(float(y.std()), rel=1e-6)
        assert shuffled.mean(target) == pytest.approx(part.mean(target), rel=1e-5)
    for target in range(19):
        reference = PyGQM9.atomref(dataset, target)
        ours = dataset.atomref(target)
        assert ours is None if reference is None else torch.equal(ours, reference)


def test_atomref_turns_totals_into_atomization(dataset):
    for molecule in dataset[::1000]:
        for k in range(4):
            atoms = dataset.atomref(7 + k)[molecule.z].double().sum()
            rest = molecule.y[0, 7 + k].double() - atoms
            assert float(rest) == pytest.approx(float(molecule.y[0, 12 + k]), abs=5e-3)


def test_loader_and_transform():
    def heavy(molecule):
        molecule.num_heavy = int((molecule.z > 1).sum())
        return molecule

    dataset = QM9Extract("test", transform=heavy)
    batch = next(iter(DataLoader(dataset, batch_size=32)))
    assert batch.num_graphs == 32
    assert batch.y.shape == (32, 19)
    assert TARGETS["dipole"].of(batch).shape == (32, 3)
    assert batch.pos.shape == (batch.num_nodes, 3)
    assert len(batch.smiles) == 32
    assert batch.num_heavy.tolist() == [int((dataset[i].z > 1).sum()) for i in range(32)]


def test_describe():
    lines = QM9Extract("test").describe().splitlines()
    assert lines[0].startswith("QM9Extract: 2,000 molecules")
    assert [line.split()[0] for line in lines[2:]] == list(TARGETS)
    assert "1o" in lines[-1]


def test_small_enough_to_ship():
    assert FILE.stat().st_size < 5e6


def test_labels_rebuild_and_rotate(dataset):
    """tblite gives the stored labels again, and the vector turns with the molecule."""
    pytest.importorskip("tblite")
    for molecule in dataset[::5000]:
        rotation = o3.rand_matrix(dtype=torch.float64)
        turned = molecule.pos.double() @ rotation.T
        table = Table(
            ids=np.zeros(1),
            counts=np.array([molecule.num_nodes]),
            z=molecule.z.numpy(),
            pos=turned.numpy(),
            smiles=[""],
            raw=np.zeros((1, 15)),
        )
        [(dipole, charges)] = build_extract.label(table)
        expected = molecule.dipole[0].double() @ rotation.T
        assert np.abs(dipole - expected.numpy()).max() < 1e-3
        assert np.abs(charges - molecule.charges.numpy()).max() < 1e-3


def test_any_default_device():
    torch.set_default_device("meta")
    try:
        dataset = QM9Extract("val")
        assert dataset[0].pos.device.type == "cpu" and "2,000 molecules" in dataset.describe()
        assert dataset.atomref(7).device.type == "cpu" and dataset.std(0) > 0
    finally:
        torch.set_default_device(None)
