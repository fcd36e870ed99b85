"""Networks in metatomic's programs: energies, forces and stress of any molecule and cell."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from e3hyena import HyenaNet
from e3hyena.ase import HyenaCalculator
from e3hyena.testing import perturb_parameters
from e3hyena.training import load_predictor

ase = pytest.importorskip("ase")
build = pytest.importorskip("ase.build")
metatomic = pytest.importorskip("e3hyena.metatomic", exc_type=ImportError)
metatomic_ase = pytest.importorskip("metatomic_ase")
export_metatomic = metatomic.export_metatomic


def network(mixer: str | None, dtype: torch.dtype = torch.float64, **options: Any) -> HyenaNet:
    torch.manual_seed(0)
    options = {"irreps_hidden": "4x0e + 4x1o", "num_layers": 1, "cutoff": 3.0, **options}
    return perturb_parameters(HyenaNet("0e", mixer=mixer, **options)).to(dtype)


def structures() -> list[Any]:
    """None has the size of what is traced; the last one has two tiles of atoms."""
    salt = build.bulk("NaCl", "rocksalt", a=4.8, cubic=True).repeat((1, 1, 5))
    found = [build.molecule("CH3CH2OH"), build.molecule("H2O"), ase.Atoms("H"), salt]
    for atoms in found:
        atoms.rattle(0.1, seed=1)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "mixer, dtype, bound",
    [
        ("coordinate", torch.float64, 1e-12),
        ("linear_attention", torch.float32, 1e-5),
        (None, torch.float64, 1e-12),
    ],
)
def test_a_file_gives_energies_forces_and_stress(tmp_path, mixer, dtype, bound) -> None:
    net = network(mixer, dtype)
    export_metatomic(net).save(tmp_path / "potential.pt")
    found = metatomic_ase.MetatomicCalculator(tmp_path / "potential.pt", check_consistency=True)
    expected = HyenaCalculator(net)
    for atoms in structures():
        for name in ("energy", "forces", *(["stress"] if atoms.pbc.all() else [])):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # the stress of a molecule
                one, other = found.get_property(name, atoms), expected.get_property(name, atoms)
            size = max(np.abs(other).max(), 1e-6)
            assert np.abs(one - other).max() <= bound * size, (name, atoms)
    output = {"energy": metatomic.ModelOutput(unit="eV", sample_kind="system")}
    together = found.run_model(structures(), output)["energy"].block().values[:, 0]
    energies = [expected.get_property("energy", atoms) for atoms in structures()]
    assert together.tolist() == pytest.approx(energies, rel=bound)


@pytest.mark.slow
def test_a_trained_network_answers_in_its_unit(finished_forces, labelled_molecules) -> None:
    predictor = load_predictor(finished_forces)
    model = export_metatomic(predictor, name="molecules")
    capabilities = model.capabilities()
    assert capabilities.outputs["energy"].unit == "eV" and model.metadata().name == "molecules"
    assert capabilities.atomic_types == [1, 6, 7, 8]
    found, expected = metatomic_ase.MetatomicCalculator(model), HyenaCalculator(finished_forces)
    atoms = labelled_molecules[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        forces = found.get_property("forces", atoms)
    np.testing.assert_allclose(forces, expected.get_property("forces", atoms), atol=1e-4)


def test_what_metatomic_cannot_have() -> None:
    for net in (HyenaNet("0e"), HyenaNet("1o", cutoff=3.0), network(None, pool=None)):
        with pytest.raises(ValueError, match="wants an energy of neighbours within a cutoff"):
            export_metatomic(net)
    with pytest.raises(ValueError, match="follow the order in which atoms are listed"):
        export_metatomic(network("query_key", ordered=True))
