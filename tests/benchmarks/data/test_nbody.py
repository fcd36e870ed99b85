"""The simulator against plain loops, its energies, and the dataset's cache."""

import dataclasses

import numpy as np
import pytest
import torch
from benchmarks.data import nbody
from benchmarks.data.nbody import NBody, Protocol, energy, forces, simulate

from e3hyena.testing import assert_equivariant, assert_permutation_equivariant


def systems(number: int, n: int, charges=(-1.0, 1.0)):
    pos = torch.randn(number, n, 3, dtype=torch.float64)
    vel = torch.randn(number, n, 3, dtype=torch.float64)
    charge = torch.tensor(charges, dtype=torch.float64)[torch.randint(len(charges), (number, n))]
    return pos, vel, charge


def test_forces_and_energy_against_loops() -> None:
    pos, vel, charge = systems(3, 5, (-1.0, 0.0, 1.0))
    for s in range(3):
        total = 0.5 * vel[s].square().sum()
        for i in range(5):
            force = torch.zeros(3, dtype=torch.float64)
            for j in range(5):
                if i != j:
                    apart = pos[s, i] - pos[s, j]
                    product = charge[s, i] * charge[s, j]
                    force += product * apart / apart.norm() ** 3
                    total += 0.5 * product / apart.norm()
            expected = force.clamp(-nbody.LARGEST_FORCE, nbody.LARGEST_FORCE)
            assert torch.allclose(forces(pos, charge)[s, i], expected, atol=1e-10)
        assert energy(pos, vel, charge)[s] == pytest.approx(float(total))


def test_force_is_minus_the_gradient_of_the_energy() -> None:
    pos, vel, charge = systems(4, 5)
    pos = (3 * pos).requires_grad_()  # far apart: nothing is clipped
    (gradient,) = torch.autograd.grad(energy(pos, vel, charge).sum(), pos)
    assert torch.allclose(forces(pos, charge), -gradient, atol=1e-10)


def test_one_step_against_the_recipe_and_two_halves_are_the_whole() -> None:
    pos, vel, charge = systems(2, 5)
    moved, faster = simulate(pos, vel, charge, 1)
    assert torch.equal(faster, vel + 1e-3 * forces(pos, charge))
    assert torch.equal(moved, pos + 1e-3 * faster)
    half = simulate(*simulate(pos, vel, charge, 10), charge, 10)
    assert all(map(torch.equal, half, simulate(pos, vel, charge, 20)))


@pytest.mark.parametrize("n", [5, 20])
def test_like_charges_keep_their_energy(n: int) -> None:
    pos, vel, charge = systems(8, n, (1.0,))
    pos = pos * (n / 5) ** (1 / 3)

    def drift(steps: int, time_step: float) -> torch.Tensor:
        def total(x, v):  # velocities lag by half a step
            return energy(x, v + 0.5 * time_step * forces(x, charge), charge)

        moved = simulate(pos, vel, charge, steps, time_step=time_step)
        return ((total(*moved) - total(pos, vel)) / total(pos, vel)).abs()

    assert drift(400, 1e-3).max() < 1e-2
    assert drift(400, 1e-3).median() < 1e-4
    assert drift(800, 5e-4).median() < 0.3 * drift(400, 1e-3).median(), "second order"


def test_momentum_is_kept() -> None:
    pos, vel, charge = systems(4, 5)
    _, after = simulate(3 * pos, vel, charge, 50)
    assert torch.allclose(after.sum(dim=1), vel.sum(dim=1), atol=1e-12)


def test_chunks_change_nothing(monkeypatch) -> None:
    pos, vel, charge = systems(7, 5)
    whole = simulate(pos, vel, charge, 5)
    monkeypatch.setattr(nbody, "_PAIRS_AT_ONCE", 50)
    assert all(map(torch.allclose, simulate(pos, vel, charge, 5), whole))


def test_the_simulation_has_its_symmetries() -> None:
    charge = torch.tensor([[1.0, -1.0, 1.0, 0.0, -1.0, 1.0]], dtype=torch.float64)

    def later(pos, vel):
        return simulate(2 * pos[None], vel[None], charge.to(pos), 20)[0][0] / 2

    points = "cartesian_points"
    options = {"num_tokens": 6, "seeds": 2}
    assert_equivariant(
        later, [points, "1o"], points, translation=True, check_ratio=False, **options
    )

    def of_particles(pos, vel, charge):
        return simulate(pos[None], vel[None], charge.T, 20)[0][0]

    specs = ["1o", "1o", "0e"]
    assert_permutation_equivariant(of_particles, specs, check_ratio=False, **options)


@pytest.fixture
def brief(monkeypatch):
    protocol = Protocol((6, 3, 2), (8, 3, 2), (-1.0, 0.0, 1.0), 4, 3)
    monkeypatch.setitem(nbody.PROTOCOLS, "paper", protocol)
    return protocol


def test_dataset(brief, tmp_path) -> None:
    train, val, test = (NBody(tmp_path, split, protocol="paper") for split in nbody.SPLITS)
    assert [len(part) for part in (train, val, test)] == [6, 3, 2]
    data = train[0]
    assert data.pos.dtype == torch.float32 and data.num_nodes == 5
    assert data.pos.shape == data.vel.shape == data.y.shape == (5, 3)
    assert data.charge.shape == (5, 1) and data.charge.abs().max() <= 1
    pos, vel = (part[None].double() for part in (data.pos, data.vel))
    later, _ = simulate(pos, vel, data.charge.T.double(), brief.horizon)
    assert torch.allclose(later[0].float(), data.y, atol=1e-5)
    assert not torch.allclose(train[0].pos, val[0].pos)


def test_numbers_are_drawn_in_the_order_of_the_recipe(tmp_path, monkeypatch) -> None:
    protocol = dataclasses.replace(
        nbody.PROTOCOLS["standard"], sizes=(2, 1, 1), drawn=(5, 1, 1), start=0, horizon=0
    )
    monkeypatch.setitem(nbody.PROTOCOLS, "standard", protocol)
    random = np.random.RandomState(43)
    drawn = []
    for _ in range(7):
        charge = random.choice(np.array([-1.0, 0.0, 1.0]), size=(5, 1), p=[0.5, 0, 0.5])
        drawn.append((charge, random.randn(3, 5).T, random.randn(3, 5).T))
        for _ in range(2):
            random.randn(49, 3, 5)
    for split, place, number in (("train", 0, 0), ("train", 1, 1), ("val", 0, 5), ("test", 0, 6)):
        data = NBody(tmp_path, split)[place]
        charge, pos, vel = drawn[number]
        assert np.array_equal(data.charge, charge)
        assert np.allclose(data.pos, pos)
        assert np.allclose(data.vel, 0.5 * vel / np.linalg.norm(vel, axis=1, keepdims=True))


def test_the_first_system_is_that_of_the_field(tmp_path) -> None:
    data = NBody(tmp_path, "train", fraction=1e-4)[0]  # the numbers are of EGNN's script
    assert torch.allclose(data.pos[0], torch.tensor([2.989116, 1.76937, -1.171294]), atol=1e-5)
    assert torch.allclose(data.y[0], torch.tensor([4.1655, 2.191309, -1.382619]), atol=1e-5)


def test_the_cache_is_read_and_the_seed_decides(brief, tmp_path, monkeypatch) -> None:
    first = NBody(tmp_path, protocol="paper")[2]
    other = NBody(tmp_path, protocol="paper", seed=1)[2]
    assert not torch.equal(first.pos, other.pos)
    again = NBody(tmp_path / "again", protocol="paper")[2]
    assert torch.equal(first.y, again.y)
    monkeypatch.setattr(nbody, "_draw", None)  # simulating once more would fail
    assert torch.equal(NBody(tmp_path, protocol="paper")[2].y, first.y)


def test_initial_state_and_fraction(tmp_path, monkeypatch) -> None:
    sizes = (400, 2, 2)
    still = dataclasses.replace(nbody.PROTOCOLS["paper"], sizes=sizes, drawn=sizes, horizon=0)
    monkeypatch.setitem(nbody.PROTOCOLS, "paper", still)
    data = NBody(tmp_path, protocol="paper", num_particles=40, fraction=0.5)
    assert len(data) == 200
    assert data._data.pos.std() == pytest.approx(2.0, rel=0.02)  # (40 / 5) ** (1 / 3)
    assert torch.allclose(data._data.vel.norm(dim=1), torch.tensor(0.5))
    assert torch.allclose(data._data.pos, data._data.y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "all"}, "train, val, test"),
        ({"protocol": "egnn"}, "standard, paper"),
        ({"num_particles": 1}, "at least 2"),
        ({"fraction": 0.0}, "in \\(0, 1\\]"),
    ],
)
def test_wrong_options(options, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        NBody(tmp_path, **options)
