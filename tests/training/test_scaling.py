import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.training.scaling import fit_scaling


def molecules(num_graphs, seed):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 9, (num_graphs,), generator=generator)
    batch = torch.arange(num_graphs).repeat_interleave(counts)
    elements = torch.tensor([1, 6, 7, 8])
    return elements[torch.randint(0, 4, (len(batch),), generator=generator)], batch


@given(
    st.integers(2, 30), st.sampled_from([1, 3]), st.booleans(), st.booleans(), st.integers(0, 99)
)
def test_to_output_and_back(num_graphs, dim, per_atom, summed, seed):
    z, batch = molecules(num_graphs, seed)
    label = 100 * torch.randn(num_graphs, dim, generator=torch.Generator().manual_seed(seed))
    scaling = fit_scaling(label, z, batch, per_atom=per_atom and dim == 1, summed=summed)
    back = scaling.to_property(scaling.to_output(label, z, batch), z, batch)
    assert torch.allclose(back, label.double(), rtol=1e-5, atol=1e-4)


def test_scalars_get_mean_zero_and_unit_deviation():
    z, batch = molecules(200, 0)
    label = 5 + 3 * torch.randn(200, 1)
    output = fit_scaling(label, z, batch, per_atom=False, summed=False).to_output(label, z, batch)
    assert float(output.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(output.square().mean()) == pytest.approx(1.0, abs=1e-5)


def test_vectors_are_scaled_but_never_shifted():
    z, batch = molecules(200, 0)
    label = 5 + 3 * torch.randn(200, 3)
    scaling = fit_scaling(label, z, batch, per_atom=False, summed=False)
    assert float(scaling.shift) == 0.0 and not scaling.atom_shift.any()
    rotation = torch.linalg.qr(torch.randn(3, 3)).Q
    rotated = scaling.to_output(label @ rotation, z, batch)
    assert torch.allclose(rotated, scaling.to_output(label, z, batch) @ rotation, atol=1e-5)


def test_total_energies_keep_their_digits():
    """A millielectronvolt on 10,000 eV survives, which it would not in float32 throughout."""
    z, batch = molecules(300, 1)
    reference = torch.zeros(10, dtype=torch.float64)
    reference[[1, 6, 7, 8]] = torch.tensor([-13.6, -1030.0, -1485.0, -2042.0], dtype=torch.float64)
    noise = 1e-3 * torch.randn(300, 1, dtype=torch.float64)
    atoms = torch.zeros(300, dtype=torch.float64).index_add(0, batch, reference[z])
    scaling = fit_scaling(atoms[:, None] + noise, z, batch, per_atom=True, summed=False)
    assert float(scaling.scale) == pytest.approx(1e-3, rel=0.2)
    assert torch.allclose(scaling.atom_shift[[1, 6]], reference[[1, 6]], atol=1e-2)


def test_equal_labels_do_not_divide_by_zero():
    z, batch = molecules(5, 0)
    scaling = fit_scaling(torch.full((5, 1), 2.0), z, batch, per_atom=False, summed=False)
    assert float(scaling.scale) == 1.0


def test_sums_over_atoms_get_the_variance_of_a_sum():
    z, batch = torch.ones(36, dtype=torch.long), torch.arange(4).repeat_interleave(9)
    label = torch.randn(4, 3)
    plain = fit_scaling(label, z, batch, per_atom=False, summed=False)
    summed = fit_scaling(label, z, batch, per_atom=False, summed=True)
    assert float(plain.scale / summed.scale) == pytest.approx(3.0)


def test_energies_with_forces_are_extensive():
    """Nothing is added per graph: two copies have twice the energy."""
    z, batch = molecules(50, 2)
    label, force = 5 + torch.randn(50, 1), torch.randn(len(z), 3)
    scaling = fit_scaling(label, z, batch, per_atom=True, summed=True, force=force)
    assert float(scaling.shift) == 0.0
    once = scaling.to_property(torch.ones(1, 1), z[:9], torch.zeros(9).long())
    twice = scaling.to_property(2 * torch.ones(1, 1), z[:9].repeat(2), torch.zeros(18).long())
    assert torch.allclose(twice, 2 * once, rtol=1e-12)
