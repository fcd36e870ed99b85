"""The radius graph is exactly what a double loop finds, small or large, whole or in chunks."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from e3hyena.ops import radius_graph as module
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.ops.segments import Segments


def brute_force(pos, cutoff, batch):
    pos, batch = pos.double().tolist(), batch.tolist()
    edges = [
        (j, i)
        for i in range(len(pos))
        for j in range(len(pos))
        if i != j and batch[i] == batch[j] and math.dist(pos[i], pos[j]) < cutoff
    ]
    return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T


@pytest.fixture(params=["all pairs", "cells"])
def way(request, monkeypatch):
    """Both ways of finding candidates, each a few pairs at a time."""
    monkeypatch.setattr(module, "_DENSE", {"all pairs": 10**9, "cells": -1}[request.param])
    monkeypatch.setattr(module, "_CHUNK", 17)
    return request.param


# A grid of halves makes coincident atoms and distances of exactly the cutoff common.
coordinates = st.integers(-6, 6).map(lambda n: n / 2)
graphs = st.lists(st.lists(st.tuples(*[coordinates] * 3), max_size=9), max_size=4)


def tensors(atoms, dtype=torch.float64):
    pos = torch.tensor([p for graph in atoms for p in graph], dtype=dtype).reshape(-1, 3)
    batch = torch.tensor([g for g, graph in enumerate(atoms) for _ in graph], dtype=torch.long)
    return pos, batch


@pytest.mark.parametrize("dense", [10**9, -1], ids=["all pairs", "cells"])
@given(atoms=graphs, cutoff=st.sampled_from([0.5, 1.0, 1.5, 2.5, 20.0]))
@example(atoms=[], cutoff=1.0)
@example(atoms=[[], [(0.0, 0.0, 0.0)], []], cutoff=1.0)
@example(atoms=[[(0.0, 0.0, 0.0)] * 5], cutoff=0.5)
def test_equals_double_loop(dense, atoms, cutoff):
    pos, batch = tensors(atoms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_DENSE", dense)
        patch.setattr(module, "_CHUNK", 17)
        edges = radius_graph(pos, cutoff, batch)
    assert edges.dtype == torch.int64
    assert edges.shape[0] == 2
    assert torch.equal(edges, brute_force(pos, cutoff, batch))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, -1e4])
def test_neighbours_next_to_cell_walls(way, dtype, offset):
    """Atoms within rounding of a wall, and of a distance of one cutoff."""
    generator = torch.Generator().manual_seed(1)
    cutoff = 0.7
    walls = cutoff * torch.randint(-2, 3, (80, 3), generator=generator).double()
    jitter = 1e-7 * torch.randint(-1, 2, (80, 3), generator=generator)
    pos = (walls + jitter + offset).to(dtype)
    expected = brute_force(pos, cutoff, torch.zeros(80, dtype=torch.long))
    assert expected.shape[1] > 50
    assert torch.equal(radius_graph(pos, cutoff), expected)


def test_the_two_ways_agree_on_large_graphs(monkeypatch):
    """Chunks of the true size, several of them."""
    generator = torch.Generator().manual_seed(2)
    pos = 22 * torch.rand(1500, 3, generator=generator)
    batch = torch.arange(1500) // 1200
    edges = {}
    for dense in (10**9, -1):
        monkeypatch.setattr(module, "_DENSE", dense)
        edges[dense] = radius_graph(pos, 4.0, batch)
    near = (torch.cdist(pos.double(), pos.double()) < 4.0) & (batch[:, None] == batch)
    target, source = near.fill_diagonal_(False).nonzero().T
    assert len(target) > 10_000
    for found in edges.values():
        assert torch.equal(found, torch.stack([source, target]))


def test_strict_at_the_cutoff(way):
    pos = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 3, 4]], dtype=torch.float64)
    assert radius_graph(pos, 0.1).shape == (2, 0)
    assert radius_graph(pos[[0, 2]], 5.0).shape == (2, 0)
    assert radius_graph(pos[[0, 2]], math.nextafter(5.0, 6.0)).tolist() == [[1, 0], [0, 1]]


def test_far_apart_atoms_do_not_overflow(way):
    """Cells of one cutoff would need more numbers than an int64 has."""
    pos = torch.tensor([[0, 0, 0], [1e30, -1e30, 1e30], [0, 1e-3, 0], [1e30, -1e30, 1e30]])
    assert radius_graph(pos.double(), 0.01).tolist() == [[2, 3, 0, 1], [0, 1, 2, 3]]


def test_ptr_batch_and_segments_agree(way):
    pos = torch.randn(9, 3, generator=torch.Generator().manual_seed(3))
    batch = torch.tensor([0, 0, 0, 2, 2, 2, 2, 3, 3])
    ptr = torch.tensor([0, 3, 3, 7, 9])
    edges = radius_graph(pos, 2.0, batch)
    assert edges.shape[1] > 4
    assert torch.equal(radius_graph(pos, 2.0, ptr=ptr), edges)
    assert torch.equal(radius_graph(pos, 2.0, Segments.build(9, batch)), edges)


def test_no_gradient_and_input_untouched(way):
    pos = torch.randn(5, 3, requires_grad=True)
    before = pos.detach().clone()
    assert not radius_graph(pos, 9.0).requires_grad
    assert torch.equal(pos, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_positions_must_be_finite(bad):
    pos = torch.zeros(30, 3)
    pos[[4, 7], [0, 2]] = bad
    with pytest.raises(ValueError, match=r"atoms \[4, 7\] are not finite"):
        radius_graph(pos, 1.0)
    pos[10:, 1] = bad
    with pytest.raises(ValueError, match=r"\[4, 7, 10, .*\] and 14 more"):
        radius_graph(pos, 1.0)


@pytest.mark.parametrize("cutoff", [0, -1.0, math.nan, math.inf])
def test_cutoff_must_be_positive_and_finite(cutoff):
    with pytest.raises(ValueError, match="cutoff"):
        radius_graph(torch.zeros(2, 3), cutoff)


@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 4, 3)])
def test_shape_of_positions(shape):
    with pytest.raises(ValueError, match="num_atoms, 3"):
        radius_graph(torch.zeros(shape), 1.0)


def test_positions_must_be_floating_point():
    with pytest.raises(TypeError, match=r"torch\.int64"):
        radius_graph(torch.zeros(2, 3, dtype=torch.long), 1.0)


def test_unsorted_batch_names_argsort():
    with pytest.raises(ValueError, match=r"torch\.argsort"):
        radius_graph(torch.zeros(3, 3), 1.0, torch.tensor([0, 1, 0]))
