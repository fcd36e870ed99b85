"""Orders that neither the listing nor the frame changes, up to symmetries of the molecule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from e3hyena.data import (
    BreadthFirstOrder,
    CanonicalOrder,
    DistanceOrder,
    RDKitOrder,
    SpectralOrder,
    symmetry_classes,
)

from .conftest import move, relist

GEOMETRIC = [SpectralOrder(), DistanceOrder(), BreadthFirstOrder()]
ORDERS = [*GEOMETRIC, RDKitOrder()]

every = pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
geometric = pytest.mark.parametrize("order", GEOMETRIC, ids=lambda order: type(order).__name__)

CUBE = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
TETRAHEDRON = torch.tensor([[0, 0, 0], [1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.63
RING = torch.stack([torch.tensor([a.cos(), a.sin(), 0]) for a in torch.arange(6) * torch.pi / 3])
SYMMETRIC = {
    "methane": Data(z=torch.tensor([6, 1, 1, 1, 1]), pos=TETRAHEDRON),
    "benzene": Data(z=torch.tensor([6] * 6 + [1] * 6), pos=torch.cat([1.4 * RING, 2.5 * RING])),
    "cube": Data(z=torch.full((8,), 6), pos=0.75 * CUBE),
    "pair": Data(z=torch.tensor([7, 7]), pos=torch.tensor([[0.0, 0, 0], [1.1, 0, 0]])),
    "two far waters": Data(
        z=torch.tensor([8, 1, 1, 8, 1, 1]),
        pos=torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]] * 2)
        + torch.tensor([[0.0, 0, 0], [0, 0, 500]]).repeat_interleave(3, dim=0),
    ),
}


def difference(first: Data, second: Data) -> float:
    """Largest difference of pair distances at the same places; infinite for other elements."""
    if not torch.equal(first.z, second.z):
        return float("inf")
    matrices = [torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
                for x in (first.pos.double(), second.pos.double())]  # fmt: skip
    return float((matrices[0] - matrices[1]).abs().max())


@every
def test_neither_listing_nor_frame_matters(order: CanonicalOrder, molecules: list[Data]) -> None:
    if isinstance(order, RDKitOrder):
        pytest.importorskip("rdkit")
    for seed, molecule in enumerate(molecules):
        ordered = order(molecule)
        assert difference(ordered, order(relist(molecule, seed))) < 1e-12
        moved = move(relist(molecule, seed), seed)
        assert difference(ordered, order(moved)) < 1e-12
        moved.pos = moved.pos.float()
        assert difference(ordered, order(moved)) < 1e-5


@every
@pytest.mark.parametrize("name", SYMMETRIC)
def test_ties_are_broken_up_to_a_symmetry(order: CanonicalOrder, name: str) -> None:
    """All distances agree: the two results differ by a symmetry of the molecule and by nothing."""
    if isinstance(order, RDKitOrder):
        pytest.importorskip("rdkit")
    molecule = SYMMETRIC[name]
    for seed in range(10):
        other = move(relist(molecule, seed), seed)
        other.pos = other.pos.float()
        assert difference(order(molecule), order(other)) < 1e-4


@geometric
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 24),
    elements=st.integers(1, 3),
    grid=st.sampled_from([None, 1.0]),
)
def test_random_points(
    order: CanonicalOrder, seed: int, size: int, elements: int, grid: float | None
) -> None:
    """In general position, and on a grid, where many invariants tie and atoms may coincide."""
    generator = torch.Generator().manual_seed(seed)
    pos = 2 * torch.randn(size, 3, generator=generator)
    pos = pos if grid is None else (pos / grid).round() * grid
    molecule = Data(z=torch.randint(1, elements + 1, (size,), generator=generator), pos=pos)
    ordered = order(molecule)
    assert difference(ordered, order(relist(molecule, seed))) < 1e-12
    assert difference(ordered, order(move(relist(molecule, seed), seed))) < 1e-9


@geometric
def test_almost_symmetric_molecules(order: CanonicalOrder) -> None:
    """Near-ties that belong together are broken together, on either side of the tolerance."""
    for noise in (1e-7, 1e-5, 1e-4, 3e-3):
        for name in ("methane", "benzene", "cube"):
            molecule = SYMMETRIC[name].clone()
            molecule.pos = molecule.pos.double() + noise * torch.randn(molecule.pos.shape).double()
            other = move(relist(molecule, 3), 4)
            assert difference(order(molecule), order(other)) < 1e-12


@every
@pytest.mark.parametrize("size", [0, 1, 2])
def test_few_atoms(order: CanonicalOrder, size: int) -> None:
    if isinstance(order, RDKitOrder):
        pytest.importorskip("rdkit")
    data = Data(z=torch.tensor([8, 1][:size], dtype=torch.long), pos=torch.eye(3)[:size])
    after = order(data)
    assert sorted(after.order_index.tolist()) == list(range(size))
    assert after.order_index.dtype == torch.long
    assert after.pos.shape == (size, 3)


def test_distance_order_goes_outwards(molecules: list[Data]) -> None:
    for molecule in molecules:
        pos = DistanceOrder()(molecule).pos.double()
        steps = (pos - pos.mean(dim=0)).norm(dim=1).diff()
        assert steps.min() > -len(pos) * 1e-3 and steps.max() > 0.1


def test_spectral_order_follows_a_chain() -> None:
    chain = torch.zeros(12, 3)
    chain[:, 0] = 1.5 * torch.arange(12)
    chain[7:, 1] = 0.4  # so that the ends differ
    molecule = relist(Data(z=torch.full((12,), 6), pos=chain), 0)
    assert (SpectralOrder()(molecule).pos[:, 0].diff().abs() == 1.5).all()


def test_breadth_first_order_never_jumps_within_a_piece() -> None:
    water = SYMMETRIC["two far waters"]
    molecule = relist(Data(z=water.z, pos=water.pos), 1)
    places = BreadthFirstOrder()(molecule).pos[:, 2]
    assert (places.diff().abs() > 1).sum() == 1  # one piece, then the other
    assert not torch.equal(BreadthFirstOrder(cutoff=600.0)(molecule).z[:3].sort().values,
                           torch.tensor([1, 1, 8]))  # fmt: skip


def test_rdkit_order_tells_atoms_by_their_bonds() -> None:
    pytest.importorskip("rdkit")
    # HCN: the rank of an atom is that in RDKit's own molecule of it
    molecule = Data(
        z=torch.tensor([7, 1, 6]), pos=torch.tensor([[1.15, 0, 0], [-1.07, 0, 0], [0.0, 0, 0]])
    )
    from rdkit import Chem

    own = Chem.RWMol()
    for number in (1, 6, 7):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        own.AddAtom(atom)
    own.AddBond(0, 1, Chem.BondType.SINGLE)
    own.AddBond(1, 2, Chem.BondType.SINGLE)
    own.UpdatePropertyCache(strict=False)
    ranks = list(Chem.CanonicalRankAtoms(own))
    assert [ranks[[1, 6, 7].index(z)] for z in RDKitOrder()(molecule).z.tolist()] == [0, 1, 2]
    with pytest.raises(ValueError, match="atomic numbers run from 0 to 1; RDKit knows 1 to 118"):
        RDKitOrder()(Data(z=torch.tensor([0, 1]), pos=torch.eye(3)[:2]))


def test_symmetry_classes() -> None:
    assert symmetry_classes(SYMMETRIC["methane"]).bincount().tolist() == [4, 1]
    assert symmetry_classes(SYMMETRIC["benzene"]).bincount().tolist() == [6, 6]
    assert symmetry_classes(SYMMETRIC["two far waters"], tolerance=0.01).bincount().tolist() == [
        4,
        2,
    ]
    generic = Data(z=torch.full((9,), 6), pos=torch.randn(9, 3))
    assert symmetry_classes(generic).sort().values.tolist() == list(range(9))
    assert symmetry_classes(Data(z=torch.zeros(0).long(), pos=torch.zeros(0, 3))).shape == (0,)


def test_errors() -> None:
    order = DistanceOrder()
    with pytest.raises(ValueError, match=r"DistanceOrder needs .* missing: 'z'"):
        order(Data(pos=torch.eye(3)))
    with pytest.raises(ValueError, match=r"z has shape \(2,\) and pos \(3, 3\)"):
        order(Data(z=torch.tensor([1, 1]), pos=torch.eye(3)))
    with pytest.raises(ValueError, match="positions are not finite"):
        order(Data(z=torch.tensor([1]), pos=torch.full((1, 3), float("nan"))))
    for build in (
        lambda: DistanceOrder(tolerance=0.0),
        lambda: SpectralOrder(length=-1.0),
        lambda: BreadthFirstOrder(cutoff=0.0),
    ):
        with pytest.raises(ValueError, match="must be positive"):
            build()


def test_repr() -> None:
    assert repr(SpectralOrder()) == "SpectralOrder(tolerance=0.001, length=1.5)"
