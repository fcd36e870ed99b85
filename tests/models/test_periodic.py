"""Crystals: forces and stress, supercells, wrapped atoms, and what a cell cannot have."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from e3hyena import HyenaNet
from e3hyena.models import energy_and_forces, energy_forces_stress
from e3hyena.ops.neighbours import neighbours
from e3hyena.testing import perturb_parameters, random_element
from e3hyena.testing.elements import POINTS
from tests.crystals import CRYSTALS, crystal

pytest.importorskip("vesin")
build = pytest.importorskip("ase.build")

MIXERS = [None, "coordinate", "attention", "linear_attention"]
RANGED = ["coordinate within 4", "attention within 4", "linear_attention within 4"]


def tensors(atoms: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Elements, positions, cell."""
    return (
        torch.from_numpy(atoms.numbers).long(),
        torch.from_numpy(atoms.positions),
        torch.from_numpy(atoms.cell.array),
    )


def network(mixer: str | None, **options: Any) -> HyenaNet:
    torch.manual_seed(0)
    if mixer and " within " in mixer:
        mixer, _, radius = mixer.partition(" within ")
        options["mixer_options"] = {"range": float(radius)}
    options = {"irreps_hidden": "8x0e + 8x1o", "num_layers": 2, "cutoff": 3.5, **options}
    return perturb_parameters(HyenaNet("0e", mixer=mixer, **options)).double()


def slope(energy: Any, step: float) -> float:
    """Derivative at zero, to the fourth order."""
    e = [float(energy(multiple * step)) for multiple in (-2, -1, 1, 2)]
    return (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step)


def close(found: Tensor, expected: Tensor, bound: float) -> None:
    assert (found - expected).abs().max() <= bound * expected.abs().max()
    assert expected.abs().max() > 1e-6


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize(
    "mixer",
    [None, "coordinate", "coordinate within 4", pytest.param("attention", marks=pytest.mark.slow)],
)
@torch.no_grad()
def test_forces_and_stress_are_finite_differences_of_the_energy(
    name: str, mixer: str | None
) -> None:
    net, (z, pos, cell) = network(mixer), tensors(crystal(name))
    _, forces, stress = energy_forces_stress(net, z, pos, cell=cell)
    expected = torch.zeros(min(len(z), 4), 3).double()
    for atom in range(len(expected)):
        for axis in range(3):
            unit = torch.zeros_like(pos)
            unit[atom, axis] = 1
            expected[atom, axis] = -slope(lambda h, u=unit: net(z, pos + h * u, cell=cell), 1e-3)
    close(forces[: len(expected)], expected, 1e-6)
    expected, volume = torch.zeros(3, 3).double(), torch.linalg.det(cell).abs()
    for i, j in itertools.combinations_with_replacement(range(3), 2):
        strain = torch.zeros(3, 3).double()
        strain[i, j] += 0.5
        strain[j, i] += 0.5

        def energy(h: float, strain: Tensor = strain) -> Tensor:
            stretch = torch.eye(3).double() + h * strain
            return net(z, pos @ stretch, cell=cell @ stretch)

        expected[i, j] = expected[j, i] = slope(energy, 1e-3) / volume
    close(stress[0], expected, 1e-6)
    assert torch.equal(stress, stress.mT)
    torch.testing.assert_close(forces, energy_and_forces(net, z, pos, cell=cell)[1])


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("mixer", MIXERS + RANGED)
def test_a_supercell_has_the_same_energy_per_atom(name: str, mixer: str | None) -> None:
    net, atoms = network(mixer), crystal(name)
    energy, forces, stress = energy_forces_stress(net, *tensors(atoms)[:2], cell=tensors(atoms)[2])
    for matrix in ([[2, 0, 0], [0, 1, 0], [0, 0, 3]], [[1, 1, 0], [0, 1, 0], [0, 0, 2]]):
        larger = build.make_supercell(atoms, matrix, order="atom-major")
        z, pos, cell = tensors(larger)
        copies = len(larger) // len(atoms)
        found = energy_forces_stress(net, z, pos, cell=cell)
        close(found[0] / copies, energy, 1e-10)
        close(found[2], stress, 1e-10)
        close(found[1], forces.repeat_interleave(copies, dim=0), 1e-10)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("mixer", MIXERS + RANGED)
def test_wrapped_atoms_another_origin_and_another_drawing(name: str, mixer: str | None) -> None:
    net, (z, pos, cell) = network(mixer), tensors(crystal(name))
    expected = energy_forces_stress(net, z, pos, cell=cell)
    moved = torch.randint(-3, 4, pos.shape).double() @ cell
    skewed = torch.tensor([[1.0, 0, 0], [2, 1, 0], [-1, 1, 1]]).double() @ cell
    shift = torch.tensor([0.3, -7.0, 2.1]).double()
    for other, lattice in ((pos + moved, cell), (pos + shift, cell), (pos, skewed)):
        found = energy_forces_stress(net, z, other, cell=lattice)
        for one, another in zip(found, expected, strict=True):
            close(one, another, 1e-10)


def test_forces_and_stress_turn_with_the_crystal() -> None:
    net, (z, pos, cell) = network("coordinate"), tensors(crystal("ice"))
    energy, forces, stress = energy_forces_stress(net, z, pos, cell=cell)
    element = random_element(1, inversion=True, translation_scale=3.0)
    turn = element(torch.eye(3).double(), "1o")
    found = energy_forces_stress(net, z, element(pos, POINTS), cell=cell @ turn)
    close(found[0], energy, 1e-10)
    close(found[1], forces @ turn, 1e-10)
    close(found[2][0], turn.T @ stress[0] @ turn, 1e-10)


def test_cells_and_molecules_in_one_batch_are_alone() -> None:
    net = network("coordinate")
    parts = [tensors(crystal(name)) for name in CRYSTALS]
    parts.append((*tensors(build.molecule("CH3OH"))[:2], torch.eye(3).double()))
    z, pos = (torch.cat([part[i] for part in parts]) for i in range(2))
    cell = torch.stack([part[2] for part in parts])
    batch = torch.arange(4).repeat_interleave(torch.tensor([len(part[0]) for part in parts]))
    pbc = torch.tensor([[True] * 3] * 3 + [[False] * 3])
    energy, forces, stress = energy_forces_stress(net, z, pos, batch, cell, pbc=pbc)
    for graph, part in enumerate(parts[:3]):
        alone = energy_forces_stress(net, *part[:2], cell=part[2])
        close(energy[graph], alone[0][0], 1e-10)
        close(forces[batch == graph], alone[1], 1e-10)
        close(stress[graph], alone[2][0], 1e-10)
    close(energy[3], net(*parts[3][:2])[0], 1e-10)


@pytest.mark.parametrize("mixer", ["coordinate", "coordinate within 4"])
def test_a_wide_cell_is_a_molecule(mixer: str) -> None:
    net, (z, pos, _) = network(mixer), tensors(build.molecule("CH3OH"))
    energy = net(z, pos)
    close(net(z, pos, cell=50 * torch.eye(3).double()), energy, 1e-10)
    close(net(z, pos, cell=torch.eye(3).double(), pbc=torch.zeros(3).bool()), energy, 1e-10)
    slab = torch.tensor([[50.0, 0, 0], [0, 50, 0], [0, 0, 0]]).double()
    close(net(z, pos, cell=slab, pbc=torch.tensor([True, True, False])), energy, 1e-10)


def test_a_list_of_the_callers_and_edges_beyond_the_cutoff() -> None:
    net, (z, pos, cell) = network("coordinate"), tensors(crystal("salt"))
    energy = net(z, pos, cell=cell)
    edge_index, shifts = neighbours(pos, 5.0, cell=cell)
    close(net(z, pos, cell=cell, edge_index=edge_index, shifts=shifts), energy, 1e-12)


@pytest.mark.parametrize("mixer", ["coordinate", "attention", "coordinate within 4"])
def test_training_on_stress_differentiates_it_correctly(mixer: str) -> None:
    net, (z, pos, cell) = network(mixer), tensors(crystal("silicon"))
    weight = next(p for n, p in net.named_parameters() if "layers.0.block.operator" in n)

    def loss(create_graph: bool) -> Tensor:
        energy, forces, stress = energy_forces_stress(
            net, z, pos, cell=cell, create_graph=create_graph
        )
        return energy.sum() + forces.square().sum() + 100 * stress.square().sum()

    loss(True).backward()
    direction, start = torch.randn(weight.shape).double(), weight.detach().clone()
    found = float((weight.grad * direction).sum())

    def along(step: float) -> Tensor:
        with torch.no_grad():
            weight.copy_(start + step * direction)
        return loss(False)

    expected = slope(along, 1e-4)
    assert found == pytest.approx(expected, rel=1e-6) and abs(expected) > 1e-6


def test_the_callers_graph_is_kept() -> None:
    """Pressure is minus a third of the trace: the derivative by a uniform scale."""
    net, (z, pos, cell) = network("coordinate"), tensors(crystal("salt"))
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    energy, _, stress = energy_forces_stress(
        net, z, scale * pos, cell=scale * cell, create_graph=True
    )
    (found,) = torch.autograd.grad(energy.sum(), scale, retain_graph=True)
    close(found, torch.linalg.det(cell) * stress[0].trace(), 1e-10)
    (bulk,) = torch.autograd.grad(stress[0].trace(), scale)
    traces = [
        energy_forces_stress(net, z, s * pos, cell=s * cell)[2][0].trace()
        for s in (1 - 1e-5, 1 + 1e-5)
    ]
    assert float(bulk) == pytest.approx(float(traces[1] - traces[0]) / 2e-5, rel=1e-5)


class TestRefused:
    Z, POS, CELL = tensors(crystal("silicon"))

    @pytest.mark.parametrize("options", [{"mixer": "query_key"}, {"mixer": "filter"},
                                         {"mixer": "coordinate", "short_conv": 3}])  # fmt: skip
    def test_orders(self, options: dict[str, Any]) -> None:
        net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", cutoff=3.0, ordered=True, **options)
        with pytest.raises(ValueError, match=r"a mixer of sets .coordinate, attention, linear_att"):
            net.double()(self.Z, self.POS, cell=self.CELL)

    def test_origins(self) -> None:
        dipoles = HyenaNet("1o", irreps_hidden="4x0e + 4x1o", cutoff=3.0).double()
        with pytest.raises(ValueError, match="needs an origin, and a periodic cell has none"):
            dipoles(self.Z, self.POS, cell=self.CELL)
        assert dipoles(self.Z, self.POS, cell=self.CELL, pbc=torch.zeros(3).bool()).shape == (1, 3)
        without = HyenaNet("1o", irreps_hidden="4x0e + 4x1o", cutoff=3.0, moments="").double()
        assert without(self.Z, self.POS, cell=self.CELL).abs().max() > 0
        with pytest.raises(ValueError, match=r"has no centroid .* with a cutoff"):
            HyenaNet("0e", irreps_hidden="4x0e").double()(self.Z, self.POS, cell=self.CELL)

    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({"edge_index": torch.zeros(2, 0).long()}, "edge_index of a .* without shifts"),
            ({"shifts": torch.zeros(0, 3)}, "shifts of a .* without edge_index"),
            ({"shifts": torch.zeros(0, 3), "cell": None}, "shifts came without a periodic cell"),
            ({"cell": None, "pbc": torch.ones(3).bool()}, "pbc came without cell"),
            ({"cell": torch.ones(2, 3, 3)}, r"cell has shape \(2, 3, 3\); wanted \(1, 3, 3\)"),
            ({"pbc": torch.ones(2)}, r"pbc has shape \(2,\); wanted \(1, 3\)"),
            ({"cell": torch.ones(3, 3)}, "vectors of graph 0 are linearly dependent"),
            ({"cell": torch.zeros(3, 3)}, "vectors of graph 0 are linearly dependent"),
            ({"cell": torch.full((3, 3), torch.nan)}, "cell is not finite"),
            (
                {"edge_index": torch.zeros(2, 4).long(), "shifts": torch.zeros(3, 3)},
                "shifts have shape .* for 4 edges",
            ),
        ],
    )
    def test_what_does_not_fit(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            network(None)(self.Z, self.POS, **{"cell": self.CELL, **arguments})

    def test_stress_without_a_volume(self) -> None:
        with pytest.raises(ValueError, match="cell has shape None; a stress needs lattice"):
            energy_forces_stress(network(None), self.Z, self.POS)
        flat = self.CELL * torch.tensor([1.0, 1, 0])[:, None].double()
        pbc = torch.tensor([True, True, False])
        with pytest.raises(ValueError, match="no volume"):
            energy_forces_stress(network(None), self.Z, self.POS, cell=flat, pbc=pbc)
