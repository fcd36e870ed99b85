"""Functions against their plain-loop references, and files against what was written."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena._digest import check_digest, with_digest
from e3hyena.data.structures import read_structures
from e3hyena.ops import Paths, naive, tensor_product, tensor_product_long_conv
from e3hyena.ops.neighbours import neighbours
from e3hyena.ops.segments import Segments
from e3hyena.testing.measure import relative_error
from e3hyena.training.files import read_json, write_json
from e3hyena.training.torch_files import read_torch, write_torch
from tests.fuzz import strategies as draws

pytestmark = pytest.mark.slow

per_channel = draws.irreps(most=3).filter(lambda irreps: irreps.dim < 20)


@given(
    irreps=st.tuples(per_channel, per_channel, per_channel),
    shape=st.tuples(st.integers(1, 3), st.sampled_from([0, 1, 2, 3, 7, 13])),
    place=st.tuples(draws.memory, draws.memory),
    dtype=draws.dtypes,
    boundary=st.sampled_from([None, "circular", "causal", "same"]),
    seed=draws.seeds,
)
def test_products_are_the_plain_loops(irreps, shape, place, dtype, boundary, seed):
    """Values and gradients, wherever the operands lie in memory."""
    paths, (channels, n) = Paths(*irreps), shape
    ours, loop, options = tensor_product, naive.tensor_product, {}
    if boundary is not None:
        if n == 0:
            return
        ours, loop = tensor_product_long_conv, naive.tensor_product_long_conv
        options = {"boundary": boundary}
    shapes = [(channels, d, n) for d in paths.dims[:2]] + [(paths.num_paths, channels)]
    exact = [draws.normal(seed + i, *s).requires_grad_() for i, s in enumerate(shapes)]
    given = [
        put(x.detach().to(dtype)).requires_grad_()
        for put, x in zip((*place, torch.clone), exact, strict=True)
    ]
    y, expected = ours(*given, paths, **options), loop(*exact, paths, **options)
    assert y.dtype == dtype and y.shape == expected.shape
    limit = 1e-11 if dtype == torch.float64 else 1e-4
    assert relative_error([y.double()], [expected]) <= limit
    if not paths.num_paths or not expected.requires_grad:
        return
    cotangent = draws.normal(seed + 3, *y.shape)
    wanted = torch.autograd.grad(expected, exact, cotangent, materialize_grads=True)
    found = torch.autograd.grad(y, given, cotangent.to(dtype), materialize_grads=True)
    for a, e in zip(found, wanted, strict=True):
        assert relative_error([a.double()], [e]) <= 10 * limit


@given(sizes=draws.lengths)
def test_batch_ptr_and_lengths_say_the_same(sizes):
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    one, other = Segments(tuple(sizes)), Segments.build(sum(sizes), None, ptr, torch.device("cpu"))
    batch = draws.batch_of(sizes)
    assert torch.equal(one.index, batch) and torch.equal(other.index, batch)
    trailing = len(sizes) - (int(batch.max()) + 1 if len(batch) else 0)
    third = Segments.build(len(batch), batch, None, torch.device("cpu"))
    assert (*third.lengths, *[0] * trailing)[: len(sizes)] == tuple(sizes)


@given(
    molecule=draws.molecules(),
    cutoff=st.floats(0.5, 4.0),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seed=draws.seeds,
)
def test_neighbours_are_those_of_a_plain_loop(molecule, cutoff, pbc, seed):
    pytest.importorskip("vesin")
    _, pos = molecule
    cell = 4 * torch.eye(3, dtype=torch.float64) + 0.3 * draws.normal(seed, 3, 3)
    flags = torch.tensor(pbc)
    edges, shifts = neighbours(pos, cutoff, cell=cell, pbc=flags)
    reach = [range(-3, 4) if periodic else range(1) for periodic in pbc]
    grid = torch.tensor([[i, j, k] for i in reach[0] for j in reach[1] for k in reach[2]])
    images = pos[None] + (grid.double() @ cell)[:, None]
    distance = (images[:, :, None] - pos[None, None]).norm(dim=-1)  # (shift, source, target)
    near = distance < cutoff
    near[(grid == 0).all(1)] &= ~torch.eye(len(pos), dtype=torch.bool)
    s, i, j = near.nonzero(as_tuple=True)
    expected = {(int(a), int(b), *grid[c].tolist()) for a, b, c in zip(i, j, s, strict=True)}
    found = [(*e, *s) for e, s in zip(edges.T.tolist(), shifts.tolist(), strict=True)]
    assert len(found) == len(set(found)) and set(found) == expected


@given(several=st.lists(draws.molecules(), min_size=1, max_size=4), seed=draws.seeds)
def test_molecules_are_read_as_they_were_written(several, seed):
    ase, io = pytest.importorskip("ase"), pytest.importorskip("ase.io")
    images = [ase.Atoms(numbers=z.numpy(), positions=pos.numpy()) for z, pos in several]
    for i, atoms in enumerate(images):
        atoms.info["energy"] = float(draws.normal(seed + i, 1))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.xyz", "a.extxyz", "a.traj"):
            path = Path(folder, name)
            io.write(path, images, **({"format": "extxyz"} if name != "a.traj" else {}))
            found = read_structures(path)
            assert len(found) == len(images)
            for one, atoms in zip(found, images, strict=True):
                assert (one.atoms.numbers == atoms.numbers).all()
                assert abs(one.atoms.positions - atoms.positions).max() <= 1e-7


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


@given(content=st.dictionaries(st.text(), plain), seed=draws.seeds)
def test_files_hold_what_was_written(content, seed):
    content = {name: value for name, value in content.items() if name != "sha256"}
    check_digest(with_digest(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.json")
        finite = "Infinity" not in repr(content) and "inf" not in repr(content)
        if finite and repr(content).isascii():
            write_json(path, content)
            assert read_json(path) == content
        tensors = {"w": draws.normal(seed, 3, 2)}
        write_torch(Path(folder, "a.pt"), tensors)
        assert torch.equal(read_torch(Path(folder, "a.pt"))["w"], tensors["w"])
