"""Far fields against a loop, and packages that are not there."""

import pytest
import torch
from benchmarks.data import packages
from benchmarks.data.proteins import Protein, charged, far_field, redrawn
from torch_geometric.data import Data


def test_far_field_is_the_sum_over_all_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    pos = 12 * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    q = torch.randn(40, generator=generator, dtype=torch.float64) * (torch.arange(40) % 2)
    potential, field = far_field(pos, q, chunk=7)
    for i in range(40):
        phi, e = torch.zeros(()).double(), torch.zeros(3).double()
        for j in range(40):
            apart = pos[i] - pos[j]
            r = float(apart.norm())
            t = min(max((r - 8) / 2, 0), 1)
            s = t**3 * (10 - 15 * t + 6 * t**2)
            phi = phi + (s * q[j] / r if r else 0)
            e = e + (s * q[j] * apart / r**3 if r else 0)
        torch.testing.assert_close(potential[i], phi)
        torch.testing.assert_close(field[i], e)


def test_a_residue_shares_its_charge_among_its_atoms() -> None:
    graph = Data(
        z=torch.tensor([7, 6, 6, 8]),
        pos=torch.randn(4, 3),
        residue=torch.tensor([0, 0, 1, 1]),
        residue_name=["LYS", "LYS", "GLY", "GLY"],
    )
    assert charged("two", graph).charge.tolist() == [0.5, 0.5, 0, 0]


def test_redrawn_charges_are_those_of_the_residues_in_another_order() -> None:
    residue = torch.arange(60) // 3
    charge = torch.tensor([1.0, -1.0, 0, 0, 1.0]).repeat(4)[residue] / 3
    pos = 12 * torch.randn(60, 3)
    p = Protein("p", residue, pos, residue, charge, *far_field(pos, charge))
    torch.manual_seed(0)
    nets = set()
    for _ in range(8):
        drawn = redrawn(p)
        nets.add(round(float(drawn.charge.sum())))
        assert drawn.charge.abs().sum() == pytest.approx(12)
        assert torch.equal(drawn.charge, drawn.charge[residue * 3])  # the same within a residue
        potential, field = far_field(pos, drawn.charge)
        assert torch.equal(drawn.potential, potential) and torch.equal(drawn.field, field)
    assert nets == {4, -4}


def test_a_missing_package_names_the_command(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(packages.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"pip download .* mmtf-cppy==1\.1\.6"):
        packages.fetch("mmtf-cppy==1.1.6", tmp_path)
    (tmp_path / "torchani-2.9.0.tar.gz").touch()
    assert packages.fetch("torchani==2.9.0", tmp_path).name == "torchani-2.9.0.tar.gz"
