"""What a far group of atoms may do to a molecule: what docs/long-range.md promises, per mixer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from e3hyena import HyenaNet
from e3hyena.models import energy_and_forces
from e3hyena.testing import perturb_parameters

RANGE, ROUNDING = 6.0, 1e-15
SETS = [(mixer, {}) for mixer in ("coordinate", "attention", "linear_attention")]
LOCAL = [(None, {}), *((mixer, {"range": RANGE}) for mixer, _ in SETS)]
MEAN = [("query_key", {"mean": True})]
SEQUENCES = [(mixer, {}) for mixer in ("query_key", "filter")]
FAR = torch.tensor([100.0, 0.0, 0.0], dtype=torch.float64)

ACETONE = (
    torch.tensor([6, 6, 6, 8, 1, 1, 1, 1, 1, 1]),
    torch.tensor(
        [[0.0, 0, 0.18], [1.287, 0, -0.61], [-1.287, 0, -0.61], [0, 0, 1.39], [2.14, 0, 0.07],
         [1.32, 0.88, -1.26], [1.32, -0.88, -1.26], [-2.14, 0, 0.07], [-1.32, 0.88, -1.26],
         [-1.32, -0.88, -1.26]],
        dtype=torch.float64,
    ),
)  # fmt: skip


def network(irreps_out: str, mixer: str | None, options: dict, **others: object) -> HyenaNet:
    torch.manual_seed(0)
    others = {"irreps_hidden": "4x0e + 4x1o", "cutoff": 3.0, "num_layers": 2, **others}
    net = HyenaNet(irreps_out, mixer=mixer, ordered=True, mixer_options=options, **others)
    return perturb_parameters(net).double().requires_grad_(False)


def together(*molecules: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One graph of all, each 100 away from the one before."""
    places = [pos + i * FAR for i, (_, pos) in enumerate(molecules)]
    return torch.cat([z for z, _ in molecules]), torch.cat(places)


def neon() -> tuple[Tensor, Tensor]:
    """20 atoms 40 to 52 away from the origin."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(20, 3, dtype=torch.float64, generator=generator) + 3
    length = 40 + 12 * torch.rand(20, 1, dtype=torch.float64, generator=generator)
    return torch.full((20,), 10), length * torch.nn.functional.normalize(direction, dim=1)


@st.composite
def molecules(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Some atoms, about as dense as a molecule."""
    z = torch.tensor(draw(st.lists(st.sampled_from([1, 6, 7, 8, 17]), min_size=1, max_size=9)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    return z, 1.5 * torch.randn(len(z), 3, dtype=torch.float64, generator=generator)


def same(found: Tensor, expected: Tensor) -> None:
    limit = 1e-10 * (1 + expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize(("mixer", "options"), [*LOCAL, *SETS, *MEAN], ids=str)
def test_copies_have_the_energies_of_as_many_molecules(mixer: str | None, options: dict) -> None:
    net = network("0e", mixer, options)

    @settings(max_examples=15, deadline=None)
    @given(molecules(), st.integers(2, 3))
    def check(molecule: tuple[Tensor, Tensor], copies: int) -> None:
        same(net(*together(*[molecule] * copies)), copies * net(*molecule))

    check()


@pytest.mark.parametrize(("mixer", "options"), LOCAL, ids=str)
def test_energies_and_forces_of_far_molecules_add(mixer: str | None, options: dict) -> None:
    """Whatever they are: without mixer, and with one of finite range."""
    net = network("0e", mixer, options)

    @settings(max_examples=15, deadline=None)
    @given(molecules(), molecules())
    def check(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
        energy, forces = energy_and_forces(net, *together(one, other))
        parts = [energy_and_forces(net, *each) for each in (one, other)]
        same(energy, sum(part[0] for part in parts))
        same(forces, torch.cat([part[1] for part in parts]))

    check()


@pytest.mark.parametrize(("mixer", "options"), LOCAL, ids=str)
def test_ghosts_change_nothing(mixer: str | None, options: dict) -> None:
    """No pair beyond cutoff and range enters any sum: what is left is rounding."""
    net = network("0e", mixer, options)
    _, alone = energy_and_forces(net, *ACETONE)
    z, pos = (torch.cat(parts) for parts in zip(ACETONE, neon(), strict=True))
    _, forces = energy_and_forces(net, z, pos)
    assert (forces[:10] - alone).abs().max() < ROUNDING and alone.abs().max() > 1e-3


@pytest.mark.parametrize(("mixer", "options"), [*SETS, *MEAN, *SEQUENCES], ids=str)
def test_ghosts_are_heard_by_a_global_mixer(mixer: str, options: dict) -> None:
    """What the page says against a mixer without range: measured, so that it stays true."""
    net = network("0e", mixer, options)
    _, alone = energy_and_forces(net, *ACETONE)
    z, pos = (torch.cat(parts) for parts in zip(ACETONE, neon(), strict=True))
    _, forces = energy_and_forces(net, z, pos)
    assert (forces[:10] - alone).abs().max() > 1e-3 * alone.abs().max()


@pytest.mark.parametrize(("mixer", "options"), [*SETS, *MEAN, *SEQUENCES], ids=str)
def test_only_who_is_there_matters_to_a_mixer(mixer: str, options: dict) -> None:
    """Where an unbonded group is cannot be heard, only what is in it."""
    net = network("0e", mixer, options)
    z, pos = (torch.cat(parts) for parts in zip(ACETONE, neon(), strict=True))
    moved = torch.cat([pos[:10], pos[10:] + FAR])
    same(net(z, moved), net(z, pos))


@pytest.mark.parametrize(("mixer", "options"), SEQUENCES, ids=str)
def test_mixers_of_sequences_promise_nothing(mixer: str, options: dict) -> None:
    net = network("0e", mixer, options)
    change = net(*together(ACETONE, ACETONE)) - 2 * net(*ACETONE)
    assert change.abs().max() > 1e-6


@pytest.mark.parametrize(("mixer", "options"), LOCAL[1:], ids=str)
def test_influence_reaches_as_far_as_the_range(mixer: str, options: dict) -> None:
    """Beyond the cutoff and within the range an atom is heard, one step beyond both it is not."""
    net = network("0e", mixer, options, num_layers=1)
    z = torch.cat([ACETONE[0], torch.tensor([9])])
    alone = energy_and_forces(net, *ACETONE)[1]
    changes = []
    for distance in (5.0, 2.2 + RANGE):
        pos = torch.cat([ACETONE[1], ACETONE[1][4:5] + distance * FAR[None] / 100])
        changes.append((energy_and_forces(net, z, pos)[1][:10] - alone).abs().max())
    assert changes[0] > 1e-5 and changes[1] < ROUNDING


@pytest.mark.parametrize(("mixer", "options"), [*LOCAL, *SETS], ids=str)
def test_dipoles(mixer: str | None, options: dict) -> None:
    """Independent of the origin, and twice as large for two copies of a molecule."""
    net = network("1o", mixer, options)
    z, pos = ACETONE
    dipole = net(z, pos)
    assert dipole.abs().max() > 1e-3
    same(net(z, pos + FAR), dipole)
    same(net(*together(ACETONE, ACETONE)), 2 * dipole)
    same(network("1o", mixer, options, moments="")(*together(ACETONE, ACETONE)),
         2 * network("1o", mixer, options, moments="")(z, pos))  # fmt: skip


def test_a_far_neighbour_draws_charge() -> None:
    """The documented exception: charges are neutral over the graph, not over each molecule."""
    net = network("1o", None, {})
    water = ACETONE[0][[3, 4, 5]], ACETONE[1][[3, 4, 5]]
    parts = net(*ACETONE) + net(*water)
    assert (net(*together(ACETONE, water)) - parts).abs().max() > 1
    without = network("1o", None, {}, moments="")
    same(without(*together(ACETONE, water)), without(*ACETONE) + without(*water))


def test_polarisabilities_and_quadrupoles() -> None:
    """No moments unless asked for; then the quadrupole of a copy is that of the molecule."""
    for moments in ("1o", "1o + 2e"):
        net = network("0e + 2e", None, {}, irreps_hidden="4x0e + 4x1o + 4x2e", moments=moments)
        same(net(*together(ACETONE, ACETONE)), 2 * net(*ACETONE))
    assert not torch.equal(net(*ACETONE)[:, 1:], net(ACETONE[0], 1.01 * ACETONE[1])[:, 1:])


def test_atoms_have_no_moments() -> None:
    net = network("1o", None, {}, pool=None)
    z, pos = (torch.cat(parts) for parts in zip(ACETONE, neon(), strict=True))
    assert net.readout.num_moments == 0
    same(net(z, pos)[:10], net(*ACETONE))


def test_without_cutoff_positions_enter() -> None:
    """The documented exception: nothing else tells the geometry."""
    net = network("0e", "coordinate", {}, cutoff=None)
    assert (net(ACETONE[0], 1.1 * ACETONE[1]) - net(*ACETONE)).abs() > 1e-6
    assert (net(*together(ACETONE, ACETONE)) - 2 * net(*ACETONE)).abs() > 1e-6
    with pytest.raises(ValueError, match=r"range=6\.0 of the mixer needs a cutoff"):
        network("0e", "coordinate", {"range": 6.0}, cutoff=None)


@pytest.mark.parametrize("mixer", ["coordinate", None])
def test_far_from_the_origin_in_float32(mixer: str | None) -> None:
    """Coordinates lose digits there, and only they: centred in float64 first, nothing is lost."""
    net = network("0e + 1o", mixer, {}).float()
    z, pos = ACETONE
    far = (pos + 1e6 * FAR / 100).float()
    rounded = (far.double() - far[0].double()).float()
    torch.testing.assert_close(net(z, far), net(z, rounded), rtol=1e-4, atol=1e-5)
