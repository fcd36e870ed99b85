"""The calculator, as ASE's own optimisers and dynamics use it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_stress
from ase.calculators.test import gradient_test
from ase.filters import FrechetCellFilter
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from e3hyena import HyenaNet
from e3hyena.ase import HyenaCalculator
from e3hyena.ops.neighbours import neighbours
from e3hyena.training import ModelInfo, load_model, save_model
from e3hyena.training.scaling import Scaling
from e3hyena.training.tasks import get_task
from e3hyena.training.torch_files import write_torch
from tests.crystals import CRYSTALS, crystal


@pytest.fixture
def dipoles(tmp_path):
    """A model file of a network for dipoles, not trained."""
    arguments = {"irreps_out": "1o", "irreps_hidden": "4x0e + 4x1o", "num_layers": 1}
    one, none = torch.tensor(2.0).double(), torch.zeros(119).double()
    info = ModelInfo(
        get_task("dipole"), Scaling(one, 0 * one, none), [1, 6, 8], arguments, {}, "0.1.0"
    )
    save_model(tmp_path / "dipoles.pt", HyenaNet(**arguments).state_dict(), info)
    return tmp_path / "dipoles.pt"


@pytest.fixture
def ethanol(finished_forces):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    atoms.calc = HyenaCalculator(finished_forces)
    return atoms


def test_energy_and_forces_are_those_of_the_network_in_the_units_of_ase(finished_forces, ethanol):
    model, info = load_model(finished_forces)
    z = torch.from_numpy(ethanol.numbers).long()
    output = model.double()(z, torch.from_numpy(ethanol.positions)).detach()
    expected = float(info.scaling.to_property(output, z, torch.zeros_like(z)))
    assert ethanol.get_potential_energy() == pytest.approx(expected)
    assert ethanol.get_potential_energy(force_consistent=True) == pytest.approx(expected)
    assert ethanol.calc.implemented_properties == ["energy", "free_energy", "forces", "stress"]


def test_energies_in_kcal_become_ev(finished_forces, ethanol, tmp_path):
    path = tmp_path / "kcal.pt"
    content = torch.load(finished_forces / "model.pt", weights_only=True)
    write_torch(path, {**content, "unit": "kcal/mol"})
    other = ethanol.copy()
    other.calc = HyenaCalculator(path)
    factor = units.kcal / units.mol
    assert other.get_potential_energy() == pytest.approx(ethanol.get_potential_energy() * factor)
    assert np.allclose(other.get_forces(), ethanol.get_forces() * factor)


def test_forces_equal_finite_differences(ethanol):
    forces, differences = gradient_test(ethanol, indices=[0, 5])
    assert np.abs(forces - differences).max() < 1e-6 * np.abs(forces).max()


def test_an_optimiser_relaxes_a_molecule(ethanol):
    before = ethanol.get_potential_energy()
    optimiser = BFGS(ethanol, logfile=None)
    optimiser.run(fmax=0.05, steps=200)
    assert ethanol.get_potential_energy() < before
    assert np.abs(ethanol.get_forces()).max() < 0.1


@pytest.mark.slow
def test_dynamics_conserve_energy(ethanol):
    """The drift falls with the square of the time step: nothing but the integrator makes it."""
    BFGS(ethanol, logfile=None).run(fmax=0.05, steps=100)
    changes = []
    for step, number in ((0.4, 25), (0.2, 50)):
        atoms = ethanol.copy()
        atoms.calc = ethanol.calc
        spread = np.sqrt(atoms.get_masses() * 300 * units.kB)[:, None]
        atoms.set_momenta(spread * np.random.default_rng(0).standard_normal((len(atoms), 3)))
        start = atoms.get_total_energy()
        energies = []
        dynamics = VelocityVerlet(atoms, step * units.fs)
        dynamics.attach(lambda a=atoms, e=energies: e.append(a.get_total_energy()))
        dynamics.run(number)
        changes.append(np.abs(np.array(energies) - start).max())
    assert 2 < changes[0] / changes[1] < 8


def test_a_network_for_dipoles_gives_them_beside_the_energy(finished_forces, dipoles, ethanol):
    both = HyenaCalculator(finished_forces, dipoles)
    assert both.implemented_properties == ["energy", "free_energy", "forces", "stress", "dipole"]
    atoms = ethanol.copy()
    atoms.calc = both
    model, info = load_model(dipoles)
    z = torch.from_numpy(atoms.numbers).long()
    output = model.double()(z, torch.from_numpy(atoms.positions))
    debye = info.scaling.to_property(output, z, torch.zeros_like(z))[0].detach()
    assert np.allclose(atoms.get_dipole_moment() / units.Debye, debye)
    assert np.allclose(atoms.get_forces(), ethanol.get_forces())
    only = HyenaCalculator(dipoles)
    assert only.implemented_properties == ["dipole"]


def test_what_cannot_be_computed_is_refused(finished_forces, ethanol):
    with pytest.raises(ValueError, match="no checkpoint given"):
        HyenaCalculator()
    with pytest.raises(ValueError, match="predicts forces; give one network for the energy"):
        HyenaCalculator(finished_forces, finished_forces)
    ethanol.numbers[0] = 14
    with pytest.raises(ValueError, match=r"element Si was not in .* knows H, C, N, O"):
        ethanol.get_potential_energy()
    ethanol.numbers[0] = 6
    ethanol.pbc = True
    with pytest.raises(ValueError, match=r"periodic along lattice vectors .* which are no cell"):
        ethanol.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        ethanol.pbc = False
        ethanol.get_stress()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [100.0, 1e6])
def test_far_from_the_origin(finished_forces, dipoles, ethanol, dtype, shift):
    far = ethanol.copy()
    far.positions += [shift, -2 * shift, shift]
    far.calc = HyenaCalculator(finished_forces, dipoles, dtype=dtype)
    near = ethanol.copy()
    near.calc = HyenaCalculator(finished_forces, dipoles)
    bound = 1e-5 if dtype == torch.float32 else 1e-8 if shift == 1e6 else 1e-10
    assert far.get_potential_energy() == pytest.approx(near.get_potential_energy(), abs=bound)
    assert np.abs(far.get_forces() - near.get_forces()).max() < 10 * bound
    assert np.abs(far.get_dipole_moment() - near.get_dipole_moment()).max() < bound


def test_networks_of_memory_answer_in_the_units_of_ase(ethanol):
    networks = [
        HyenaNet(irreps, irreps_hidden="8x0e + 8x1o", num_layers=1, cutoff=3.0, pool="sum")
        for irreps in ("0e", "1o")
    ]
    ethanol.calc = HyenaCalculator(*networks)
    z = torch.from_numpy(ethanol.numbers).long()
    pos = torch.from_numpy(ethanol.positions)
    energy, dipole = ethanol.get_potential_energy(), ethanol.get_dipole_moment()
    assert next(networks[0].parameters()).dtype == torch.float32  # the caller's is left alone
    with torch.no_grad():
        outputs = [network.double()(z, pos) for network in networks]
    assert energy == pytest.approx(float(outputs[0]))
    assert np.allclose(dipole, outputs[1])
    forces, differences = gradient_test(ethanol, indices=[1])
    assert np.abs(forces - differences).max() < 1e-6 * np.abs(forces).max()
    ethanol.numbers[0] = 14  # nothing says which elements it knows
    assert np.isfinite(ethanol.get_potential_energy())


def test_a_loaded_model_and_its_file_are_one(finished_forces, ethanol):
    other = ethanol.copy()
    other.calc = HyenaCalculator(load_model(finished_forces))
    assert other.get_potential_energy() == ethanol.get_potential_energy()


def test_networks_of_memory_that_do_not_fit(ethanol):
    with pytest.raises(ValueError, match=r"a network in memory predicts neither"):
        HyenaCalculator(HyenaNet("2e", irreps_hidden="8x0e + 8x1o + 8x2e", num_layers=1))
    net = HyenaNet("0e", irreps_hidden="8x0e + 8x1o", num_layers=1)
    with pytest.raises(ValueError, match="a network in memory predicts forces; give one"):
        HyenaCalculator(net, net)
    per_atom = HyenaNet("1o", irreps_hidden="8x0e + 8x1o", num_layers=1, pool=None)
    ethanol.calc = HyenaCalculator(per_atom)
    with pytest.raises(ValueError, match="for one molecule; take pool='sum'"):
        ethanol.get_dipole_moment()


def test_charges_bring_one_warning(finished_forces, ethanol):
    ethanol.info["charge"] = 1
    with pytest.warns(UserWarning, match="molecule 0: charge 1"):
        ethanol.get_potential_energy()
    ethanol.rattle(0.01)
    ethanol.get_potential_energy()  # said already


def test_any_default_device(finished_forces, dipoles, ethanol):
    other = ethanol.copy()
    torch.set_default_device("meta")
    try:
        other.calc = HyenaCalculator(finished_forces, dipoles)
        energy, dipole = other.get_potential_energy(), other.get_dipole_moment()
    finally:
        torch.set_default_device(None)
    assert energy == ethanol.get_potential_energy() and np.isfinite(dipole).all()


@pytest.fixture
def salt():
    """A distorted cell, and a network that is not trained."""
    atoms = bulk("NaCl", "rocksalt", a=4.0)
    atoms.set_cell(atoms.cell.array @ [[1.05, 0, 0.02], [0, 1, 0], [0, 0.1, 0.97]], True)
    atoms.rattle(0.1, seed=1)
    net = HyenaNet("0e", irreps_hidden="8x0e + 8x1o", num_layers=1, cutoff=4.0)
    atoms.calc = HyenaCalculator(net)
    return atoms


def test_stress_of_a_cell_equals_finite_differences(salt):
    stress = salt.get_stress()
    expected = calculate_numerical_stress(salt, eps=1e-5)
    assert stress.shape == (6,) and np.abs(stress - expected).max() < 1e-6 * np.abs(expected).max()
    forces, differences = gradient_test(salt)
    assert np.abs(forces - differences).max() < 1e-6 * np.abs(forces).max()
    energy = salt.get_potential_energy()
    for repeat in ((1, 1, 2), (2, 2, 1)):
        larger = salt.repeat(repeat)
        larger.calc = salt.calc
        assert larger.get_potential_energy() == pytest.approx(energy * len(larger) / 2, rel=1e-10)


@pytest.mark.parametrize("name", CRYSTALS)
def test_crystals_relax_and_live_at_constant_pressure(name):
    """Enthalpy falls in a relaxation; at a given stress cell, positions and energy stay finite."""
    atoms, pressure = crystal(name), 0.01
    net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.5)
    atoms.calc = HyenaCalculator(net, skin=0.3)
    enthalpy = [atoms.get_potential_energy() + pressure * atoms.get_volume()]
    BFGS(FrechetCellFilter(atoms, scalar_pressure=pressure), logfile=None).run(fmax=1e-4, steps=4)
    enthalpy.append(atoms.get_potential_energy() + pressure * atoms.get_volume())
    assert enthalpy[1] < enthalpy[0]
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    volume, options = atoms.get_volume(), {"tdamp": 20 * units.fs, "pdamp": 100 * units.fs}
    IsotropicMTKNPT(atoms, 0.5 * units.fs, temperature_K=200, pressure_au=pressure, **options).run(
        5
    )
    assert np.isfinite(atoms.get_stress()).all() and np.isfinite(atoms.get_total_energy())
    assert 0 < abs(atoms.get_volume() / volume - 1) < 0.1


def test_a_slab_and_a_model_of_molecules(dipoles):
    slab = bulk("NaCl", "rocksalt", a=4.0, cubic=True)
    slab.set_cell([4, 4, 0])
    slab.pbc = [True, True, False]
    slab.calc = HyenaCalculator(
        HyenaNet("0e", irreps_hidden="8x0e + 8x1o", num_layers=1, cutoff=4.0)
    )
    energy, forces = slab.get_potential_energy(), slab.get_forces()
    slab.positions[0] += [4, -8, 0]
    assert slab.get_potential_energy() == pytest.approx(energy, rel=1e-10)
    assert np.abs(slab.get_forces() - forces).max() < 1e-10
    with pytest.raises(PropertyNotImplementedError):
        slab.get_stress()
    water = molecule("H2O", cell=[9, 9, 9], pbc=True)
    water.calc = HyenaCalculator(dipoles)
    with pytest.raises(ValueError, match="build the network with a cutoff"):
        water.get_dipole_moment()
    model, info = load_model(dipoles)
    info = replace(info, config={"data": {"source": "extract"}})
    water.calc = HyenaCalculator((model, info))
    with pytest.raises(ValueError, match="was trained on the molecules of QM9Extract; set pbc"):
        water.get_dipole_moment()


@pytest.mark.parametrize("where", ["molecule", "cell"])
def test_a_skin_saves_lists_of_neighbours_and_changes_nothing(where, salt, monkeypatch):
    atoms = salt if where == "cell" else molecule("CH3CH2OH")
    net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.0)
    listed = []

    def counted(*arguments, **options):
        listed.append(arguments[1])
        return neighbours(*arguments, **options)

    monkeypatch.setattr("e3hyena.ase.neighbours", counted)
    atoms.calc, every = HyenaCalculator(net, skin=0.6), HyenaCalculator(net)

    def same():
        expected = every.get_property("forces", atoms)
        np.testing.assert_allclose(atoms.get_forces(), expected, rtol=0, atol=1e-10)
        if where == "cell":
            expected = every.get_property("stress", atoms)
            np.testing.assert_allclose(atoms.get_stress(), expected, rtol=0, atol=1e-10)

    for seed in range(4):
        same()
        atoms.rattle(0.02, seed=seed)
    assert listed == [3.6]
    atoms.positions[1] += 0.4
    same()
    atoms.set_cell(1.01 * atoms.cell.array, scale_atoms=True)
    same()
    atoms.numbers[0] = 9
    same()
    assert len(listed) == (4 if where == "cell" else 3)  # a molecule has no cell to change
