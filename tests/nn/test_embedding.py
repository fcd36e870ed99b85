"""The embeddings of atoms: by element, and with positions, smooth at the centroid as well."""

import torch
from e3nn import o3
from torch import Tensor

from e3hyena.nn.embedding import AtomEmbedding, ElementEmbedding
from e3hyena.testing import assert_equivariant, perturb_parameters

IRREPS = "4x0e + 2x0o + 3x1o + 1e + 2x2e + 3o"
Z = torch.randint(1, 119, (24,), generator=torch.Generator().manual_seed(0))


def test_equivariant() -> None:
    embedding = AtomEmbedding(IRREPS)
    for module in (embedding, perturb_parameters(embedding)):
        assert_equivariant(module, [None, "1o"], IRREPS, args_in=[Z, None])


def test_formula() -> None:
    """Degree one by hand: a weight of element and distance, times the bounded position."""
    embedding = AtomEmbedding("2x1o", length=1.5).double()
    z, r = Z[:6], torch.randn(6, 3, dtype=torch.float64)
    rho = (1 + (r / 1.5).square().sum(1, keepdim=True)).sqrt()
    basis = torch.exp(-((rho - 1 - 0.75 * torch.arange(8)) ** 2))
    weights = embedding.mlp(torch.cat([embedding.element(z), basis], dim=1))
    expected = 3**0.5 * weights[:, :, None] * (r / 1.5 / rho)[:, None]
    torch.testing.assert_close(embedding(z, r), expected.flatten(1), rtol=1e-12, atol=1e-12)


def test_unnatural_parities_start_at_zero() -> None:
    embedding = AtomEmbedding(IRREPS)
    y = embedding(Z, torch.randn(24, 3))
    for (_, ir), part in zip(embedding.irreps, embedding.irreps.slices(), strict=True):
        assert y[:, part].any() == (ir.p == (-1) ** ir.l)
    assert not AtomEmbedding("2x0o")(Z, torch.randn(24, 3)).any()


def test_smooth_at_the_centroid() -> None:
    embedding = AtomEmbedding("2x0e + 2x1o + 2x2e + 3o").double()

    def energy(r: Tensor) -> Tensor:
        return embedding(Z[:3], r)

    r = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(energy, r)
    assert torch.autograd.gradgradcheck(energy, r)


def test_unit_variance() -> None:
    irreps = o3.Irreps("32x0e + 32x1o + 32x2e")
    x = AtomEmbedding(irreps)(torch.randint(1, 119, (500,)), 2 * torch.randn(500, 3))
    assert all(0.25 < x[:, part].square().mean() < 2.5 for part in irreps.slices())


def test_nothing_to_embed() -> None:
    assert AtomEmbedding("")(Z, torch.randn(24, 3)).shape == (24, 0)
    assert AtomEmbedding(IRREPS)(Z[:0], torch.zeros(0, 3)).shape == (0, o3.Irreps(IRREPS).dim)


def test_elements_alone() -> None:
    embedding = ElementEmbedding("2x1o + 4x0e + 0x2e + 3x0e + 0o")
    x = embedding(Z)
    assert x.shape == (24, 14)
    assert torch.equal(x[:, 6:13], embedding.element.weight[Z]) and x[:, 6:13].any()
    assert not x[:, :6].any() and not x[:, 13:].any()
    assert embedding.reached() == {o3.Irrep("0e")}
    many = ElementEmbedding("64x0e")(torch.arange(1, 119))
    assert 0.9 < many.square().mean() < 1.1


def test_elements_of_nothing() -> None:
    for irreps in ("", "4x1o", "0x0e + 2x1o"):
        embedding = ElementEmbedding(irreps)
        assert not embedding(Z).any() and not embedding.reached()
        assert embedding(Z[:0]).shape == (0, o3.Irreps(irreps).dim)


def test_entries_without_copies() -> None:
    embedding = AtomEmbedding("4x0e + 0x1o + 0x3e")
    assert embedding(Z, torch.randn(24, 3)).shape == (24, 4)
    assert embedding.reached() == {o3.Irrep("0e")}
