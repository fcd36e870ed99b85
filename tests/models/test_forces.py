import pytest
import torch
from torch import Tensor

from e3hyena import HyenaNet
from e3hyena.models import energy_and_forces
from e3hyena.testing import perturb_parameters, random_element
from e3hyena.testing.elements import POINTS

MIXERS = [None, "coordinate", "attention", "linear_attention", "query_key"]
RANGED = ["coordinate within 4", "attention within 4", "linear_attention within 4"]


def molecules(dtype=torch.float64):
    """Two molecules of 5 and 4 atoms."""
    generator = torch.Generator().manual_seed(0)
    pos = 1.2 * torch.randn(9, 3, dtype=dtype, generator=generator)
    z = torch.tensor([6, 1, 8, 1, 1, 7, 1, 6, 1])
    return z, pos, torch.tensor([0] * 5 + [1] * 4)


def network(mixer, dtype=torch.float64, **options):
    """``"attention within 4"`` is a mixer of finite range."""
    torch.manual_seed(0)
    if mixer and " within " in mixer:
        mixer, _, radius = mixer.partition(" within ")
        options["mixer_options"] = {"range": float(radius)}
    net = HyenaNet(
        "0e", irreps_hidden="8x0e + 8x1o", num_layers=2, mixer=mixer, cutoff=3.0, ordered=True,
        **options,
    )  # fmt: skip
    perturb_parameters(net)
    return net.to(dtype)


@pytest.mark.parametrize("mixer", MIXERS + RANGED)
def test_forces_are_minus_the_finite_differences_of_the_energy(mixer):
    net, (z, pos, batch) = network(mixer), molecules()
    _, forces = energy_and_forces(net, z, pos, batch)
    step = 1e-3
    expected, some = torch.zeros_like(pos), slice(0, None, 2)  # of each of the molecules
    with torch.no_grad():
        for atom in range(len(pos))[some]:
            for axis in range(3):
                e = []
                for multiple in (-2, -1, 1, 2):
                    moved = pos.clone()
                    moved[atom, axis] += multiple * step
                    e.append(float(net(z, moved, batch).sum()))
                slope = (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step)
                expected[atom, axis] = -slope
    assert (forces - expected)[some].abs().max() <= 1e-6 * expected.abs().max()
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("mixer", MIXERS + RANGED)
def test_training_on_forces_differentiates_them_correctly(mixer):
    """The gradient of a loss of forces with respect to a weight, against finite differences."""
    net, (z, pos, batch) = network(mixer), molecules()
    weight = net.layers[0].interaction.radial_in if mixer is None else None
    if weight is None:
        weight = next(p for n, p in net.named_parameters() if "layers.0.block.operator" in n)

    def loss(create_graph):
        energy, forces = energy_and_forces(net, z, pos, batch, create_graph=create_graph)
        return forces.square().sum() + energy.sum()

    loss(True).backward()
    direction = torch.randn(weight.shape, dtype=weight.dtype)
    found = float((weight.grad * direction).sum())
    start, step, values = weight.detach().clone(), 1e-4, []
    for multiple in (-2, -1, 1, 2):
        with torch.no_grad():
            weight.copy_(start + multiple * step * direction)
        values.append(float(loss(False)))
    expected = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * step)
    assert found == pytest.approx(expected, rel=1e-6) and abs(expected) > 1e-6


@pytest.mark.parametrize("mixer", ["coordinate", None])
def test_forces_turn_with_the_molecule_and_add_up_to_nothing(mixer):
    net, (z, pos, batch) = network(mixer), molecules()
    energy, forces = energy_and_forces(net, z, pos, batch)
    element = random_element(1, inversion=True, translation_scale=3.0)
    turned_energy, turned = energy_and_forces(net, z, element(pos, POINTS), batch)
    largest = forces.abs().max()
    assert (turned - element(forces, "1o")).abs().max() < 1e-10 * largest
    assert torch.allclose(turned_energy, energy, rtol=1e-10)
    total = torch.zeros(2, 3, dtype=forces.dtype).index_add(0, batch, forces)
    assert total.abs().max() < 1e-10 * largest


def test_forces_of_a_molecule_do_not_depend_on_its_batch_mates():
    net, (z, pos, batch) = network("coordinate"), molecules()
    _, together = energy_and_forces(net, z, pos, batch)
    _, alone = energy_and_forces(net, z[5:], pos[5:])
    assert torch.allclose(together[5:], alone, rtol=1e-10, atol=1e-12)


def test_works_where_gradients_are_switched_off_and_leaves_no_graph():
    net, (z, pos, batch) = network("coordinate"), molecules()
    with torch.no_grad():
        energy, forces = energy_and_forces(net, z, pos, batch)
    assert forces.abs().max() > 0
    assert not energy.requires_grad and not forces.requires_grad and not pos.requires_grad


def test_an_energy_without_positions_has_no_forces():
    net = torch.nn.Embedding(10, 1)
    model = lambda z, pos, batch: net(z).sum(dim=0, keepdim=True)  # noqa: E731
    _, forces = energy_and_forces(model, torch.tensor([1, 8]), torch.randn(2, 3))
    assert torch.equal(forces, torch.zeros(2, 3))
    for weight in net.parameters():
        weight.requires_grad_(False)
    _, forces = energy_and_forces(model, torch.tensor([1, 8]), torch.randn(2, 3))
    assert torch.equal(forces, torch.zeros(2, 3))


def test_anything_but_one_energy_per_graph_is_refused():
    net, (z, pos, batch) = HyenaNet("1o", irreps_hidden="4x0e + 4x1o", num_layers=1), molecules()
    with pytest.raises(ValueError, match=r"gave shape \(2, 3\); forces need one energy per graph"):
        energy_and_forces(net, z, pos.float(), batch)


class TestTheCallersGraph:
    """Forces are a function of whatever the positions are made of."""

    WATER = torch.tensor([8, 1, 1]), torch.tensor([[0, 0, 0.1], [0.8, 0, -0.5], [-0.8, 0, -0.5]])

    def test_hessian(self) -> None:
        net, (z, pos) = network("coordinate"), self.WATER
        pos = pos.double()

        def forces(pos: Tensor) -> Tensor:
            return energy_and_forces(net, z, pos, create_graph=True)[1]

        hessian = torch.autograd.functional.jacobian(forces, pos)
        expected = -torch.autograd.functional.hessian(lambda pos: net(z, pos).sum(), pos)
        assert expected.abs().max() > 1e-2
        torch.testing.assert_close(hessian, expected, rtol=1e-12, atol=1e-12)

    def test_strain(self) -> None:
        net, (z, pos, batch) = network("coordinate"), molecules()
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        energy, forces = energy_and_forces(net, z, pos + pos @ strain, batch, create_graph=True)
        (virial,) = torch.autograd.grad(energy.sum(), strain, retain_graph=True)
        torch.testing.assert_close(virial, -pos.T @ forces.detach(), rtol=1e-10, atol=1e-12)
        (again,) = torch.autograd.grad(forces.square().sum(), strain)
        assert again.abs().max() > 1e-3

    def test_a_geometry_made_upstream(self) -> None:
        net, (z, pos, batch) = network("coordinate"), molecules()
        stretch = torch.ones((), dtype=torch.float64, requires_grad=True)
        _, forces = energy_and_forces(net, z, stretch * pos, batch, create_graph=True)
        (slope,) = torch.autograd.grad(forces.square().sum(), stretch)
        step, values = 1e-5, []
        for factor in (1 - step, 1 + step):
            values.append(energy_and_forces(net, z, factor * pos, batch)[1].square().sum())
        expected = (values[1] - values[0]) / (2 * step)
        assert slope.item() == pytest.approx(expected.item(), rel=1e-5) and abs(slope) > 1e-3

    def test_features(self) -> None:
        net = network("coordinate", irreps_features="2x0e")
        z, pos, batch = molecules()
        features = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
        options = {"create_graph": True, "features": features}
        energy, forces = energy_and_forces(net, z, pos, batch, **options)
        for result in (energy.sum(), forces.square().sum()):
            (grad,) = torch.autograd.grad(result, features, retain_graph=True)
            assert grad.abs().max() > 1e-4

    def test_what_is_left_to_the_caller(self) -> None:
        """Without ``create_graph`` nothing has a graph, and the caller's own still works."""
        net, (z, pos, batch) = network("coordinate"), molecules()
        stretch = torch.ones((), dtype=torch.float64, requires_grad=True)
        made = (stretch * pos).sin()
        energy, forces = energy_and_forces(net, z, made, batch)
        assert not energy.requires_grad and not forces.requires_grad
        made.sum().backward()
        assert stretch.grad is not None and pos.grad is None

    @pytest.mark.parametrize("create_graph", [False, True])
    @pytest.mark.parametrize("mixer", MIXERS)
    def test_inference_mode(self, mixer: str | None, create_graph: bool) -> None:
        net, (z, pos, batch) = network(mixer), molecules()
        expected = energy_and_forces(net, z, pos, batch)
        with torch.inference_mode():
            made = z.clone(), pos.clone(), batch.clone()
            energy, forces = energy_and_forces(net, *made, create_graph=create_graph)
        torch.testing.assert_close((energy, forces), expected, rtol=1e-10, atol=1e-12)
        assert forces.requires_grad == create_graph and not forces.is_inference()

    def test_no_grad_keeps_the_graph_that_is_asked_for(self) -> None:
        net, (z, pos, batch) = network("coordinate"), molecules()
        with torch.no_grad():
            _, forces = energy_and_forces(net, z, pos, batch, create_graph=True)
        forces.square().sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in net.parameters())
