"""One list of neighbours, whoever made it."""

import itertools

import numpy as np
import pytest
import torch

from e3hyena.ops import neighbours as module
from e3hyena.ops.cells import Cells
from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.ops.segments import Segments

pytest.importorskip("vesin")
ase = pytest.importorskip("ase")
neighborlist = pytest.importorskip("ase.neighborlist")


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("cutoff", [2.0, 6.0, 11.0])
def test_edges_and_shifts_are_those_of_ase(pbc, cutoff):
    """In skewed cells, smaller and larger than the cutoff, with atoms far outside of them."""
    generator = np.random.default_rng(0)
    for number in (1, 2, 30):
        cell = 5 * np.eye(3) + 2 * generator.normal(size=(3, 3))
        cell[~np.array(pbc)] = 0
        pos = 8 * generator.normal(size=(number, 3))
        atoms = ase.Atoms(f"H{number}", pos, cell=cell, pbc=pbc)
        target, source, shifts = neighborlist.neighbor_list("ijS", atoms, cutoff)
        expected = sorted(zip(source, target, *shifts.T, strict=True))
        edge_index, shifts = neighbours(
            torch.tensor(pos), cutoff, cell=torch.tensor(cell), pbc=torch.tensor(pbc)
        )
        assert sorted(zip(*edge_index.tolist(), *shifts.T.tolist(), strict=True)) == expected


@pytest.mark.parametrize("sizes", [(1500,), (700, 1, 0, 1900), (5, 3, 8)])
def test_large_molecules_and_small_ones_alike(sizes, monkeypatch):
    pos = (sum(sizes) / 0.1) ** (1 / 3) * torch.rand(sum(sizes), 3)
    segments = Segments(sizes)
    expected = radius_graph(pos, 4.0, segments)
    edge_index, shifts = neighbours(pos, 4.0, segments)
    assert expected.shape[1] > 0 and torch.equal(edge_index, expected)
    assert shifts.shape == (expected.shape[1], 3) and not shifts.any()
    monkeypatch.setattr(module, "_LARGE", 0)  # vesin for all of them
    other, shifts = neighbours(pos, 4.0, segments)
    assert torch.equal(other, expected) and not shifts.any()


def test_which_of_them_does_it(monkeypatch):
    def refuse(*args):
        raise AssertionError("vesin")

    monkeypatch.setattr(module, "_of_one", refuse)
    pos = 20 * torch.rand(600, 3)
    batch = torch.arange(600) // 20
    assert torch.equal(neighbours(pos, 2.0, batch)[0], radius_graph(pos, 2.0, batch))
    for arguments in ({}, {"cell": torch.eye(3)}):
        with pytest.raises(AssertionError, match="vesin"):
            neighbours(pos, 2.0, **arguments)


def test_without_the_extra(monkeypatch):
    """Molecules of any size work as before, cells say what to install."""
    find_spec = module.importlib.util.find_spec
    monkeypatch.setattr(
        module.importlib.util, "find_spec", lambda n: None if n == "vesin" else find_spec(n)
    )

    def require(name, extra):
        raise ImportError(f"pip install 'e3hyena[{extra}]'")

    monkeypatch.setattr(module, "require", require)
    pos = 20 * torch.rand(600, 3)
    assert torch.equal(neighbours(pos, 2.0)[0], radius_graph(pos, 2.0))
    with pytest.raises(ImportError, match=r"e3hyena\[periodic\]"):
        neighbours(pos, 2.0, cell=20 * torch.eye(3))


def test_distances_and_offsets():
    """Every edge is shorter than the cutoff, in whichever graph of a batch."""
    pos = 6 * torch.rand(9, 3, dtype=torch.float64)
    batch = torch.tensor([0] * 4 + [2] * 5)
    cell = torch.stack([torch.eye(3) * size for size in (3.0, 1.0, 4.0)]).double()
    cell.requires_grad_()
    segments = Segments.build(9, batch)
    cells = Cells.build(cell, None, segments, pos)
    (source, target), shifts = neighbours(pos, 5.0, batch, cell=cell)
    offset = cells.offsets(shifts, batch[target])
    distance = (pos[source] + offset - pos[target]).norm(dim=1)
    assert torch.equal(batch[source], batch[target]) and distance.max() < 5
    assert ((source == target) & shifts.any(dim=1)).any()  # its own image
    density = 4 / 27, 5 / 64
    for graph, expected in zip((0, 2), density, strict=True):
        mean = (batch[target] == graph).sum() / (batch == graph).sum()
        assert mean == pytest.approx(expected * 4 / 3 * np.pi * 125, rel=0.15)
    offset.sum().backward()
    assert cell.grad[[0, 2]].abs().max() == 0 and torch.isfinite(cell.grad).all()  # by symmetry


def test_empty():
    edge_index, shifts = neighbours(torch.zeros(0, 3), 2.0, cell=torch.eye(3))
    assert edge_index.shape == (2, 0) and shifts.shape == (0, 3)
    assert edge_index.dtype == shifts.dtype == torch.int64
