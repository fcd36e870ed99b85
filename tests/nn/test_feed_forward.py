"""Token-wise networks, and the geometric product among their weightings."""

import torch
from e3nn import o3
from torch import Tensor

from e3hyena.irreps import ChannelIrreps
from e3hyena.nn import FeedForward, TensorProductMLP
from e3hyena.ops import tensor_product
from e3hyena.testing import assert_equivariant, perturb_parameters, train_steps

PAULI = torch.tensor(
    [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex128
)
MULTIVECTOR = ("0e", "1o", "1e", "0o")


def geometric_product(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    r"""Product of Cl(3,0) as 2x2 matrices: ``s + v.sigma + i B.sigma + i p``.

    A bivector is written as its dual axial vector B, so ``1e``; the pseudoscalar p is ``0o``.
    """
    eye = torch.eye(2, dtype=torch.complex128)

    def matrix(m: dict[str, Tensor]) -> Tensor:
        scalar = m["0e"] + 1j * m["0o"]
        vector = m["1o"] + 1j * m["1e"]
        return scalar[..., None] * eye + torch.einsum("ni,iab->nab", vector, PAULI)

    product = matrix(a) @ matrix(b)
    scalar = product.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) / 2
    vector = torch.einsum("nab,iba->ni", product, PAULI) / 2
    return {"0e": scalar.real, "0o": scalar.imag, "1o": vector.real, "1e": vector.imag}


def test_multiplication_table() -> None:
    """e1 e1 = 1, e1 e2 = e12, e12 e12 = -1, e123 e123 = -1, e123 e1 = e23."""

    def unit(ir: str, i: int = 0) -> dict[str, Tensor]:
        parts = {ir: torch.zeros(1, o3.Irrep(ir).dim, dtype=torch.float64) for ir in MULTIVECTOR}
        parts[ir][0, i] = 1
        return parts

    def equal(m: dict[str, Tensor], ir: str, i: int, sign: int) -> bool:
        wanted = unit(ir, i)
        return all(torch.equal(m[k], sign * wanted[k]) for k in MULTIVECTOR)

    assert equal(geometric_product(unit("1o", 0), unit("1o", 0)), "0e", 0, 1)
    assert equal(geometric_product(unit("1o", 0), unit("1o", 1)), "1e", 2, 1)
    assert equal(geometric_product(unit("1o", 1), unit("1o", 0)), "1e", 2, -1)
    assert equal(geometric_product(unit("1e", 2), unit("1e", 2)), "0e", 0, -1)
    assert equal(geometric_product(unit("0o"), unit("0o")), "0e", 0, -1)
    assert equal(geometric_product(unit("0o"), unit("1o", 0)), "1e", 0, 1)


def test_one_weighting_is_the_geometric_product() -> None:
    mlp = TensorProductMLP("0e", "0e", num_channels=1)
    paths = mlp.paths
    assert {str(ir) for _, ir in paths.irreps1} == set(MULTIVECTOR)

    def draw() -> tuple[Tensor, Tensor, Tensor]:
        a, b = torch.randn(2, 40, 8, dtype=torch.float64)
        slices = dict(
            zip([str(ir) for _, ir in paths.irreps1], paths.irreps1.slices(), strict=True)
        )
        parts = [{ir: x[:, part] for ir, part in slices.items()} for x in (a, b)]
        product = geometric_product(*parts)
        target = torch.cat([product[ir] for ir in slices], dim=1)
        return a.T[None], b.T[None], target.T[None]

    a, b, target = draw()
    identity = torch.eye(paths.num_paths, dtype=torch.float64)[:, :, None]
    columns = torch.stack([tensor_product(a, b, w, paths).flatten() for w in identity], dim=1)
    weight = torch.linalg.lstsq(columns, target.flatten()[:, None]).solution
    assert torch.linalg.matrix_rank(columns) == paths.num_paths == mlp.weight.shape[0] == 20
    assert (weight.abs() > 0.1).all()
    a, b, target = draw()
    torch.testing.assert_close(tensor_product(a, b, weight, paths), target, rtol=0, atol=1e-12)


def test_tensor_product_mlp_is_equivariant() -> None:
    mlp = TensorProductMLP("4x0e + 2x1o + 1e", "2x0e + 0o + 3x1o + 1e", num_channels=4)
    assert_equivariant(mlp)
    assert_equivariant(perturb_parameters(mlp))
    losses = train_steps(mlp, [mlp.irreps_in.randn(24, -1)])
    assert losses[-1] < losses[0]
    assert_equivariant(mlp)


def test_feed_forward_is_equivariant() -> None:
    class Wrapped(FeedForward):
        irreps_in, irreps_out = o3.Irreps("4x0e + 2x1o"), o3.Irreps("1o + 3x0e")

    mlp = Wrapped(Wrapped.irreps_in, Wrapped.irreps_out, ChannelIrreps("8x0e + 8x1o + 8x1e"))
    assert_equivariant(perturb_parameters(mlp))


def test_keep_variance() -> None:
    irreps = o3.Irreps("32x0e + 32x1o + 32x1e")
    x = irreps.randn(400, -1)
    hidden = ChannelIrreps(2 * irreps)
    outputs = [FeedForward(irreps, irreps, hidden)(x), TensorProductMLP(irreps, irreps, 32)(x)]
    for y in outputs:
        assert all(0.6 < y[:, part].square().mean() < 1.7 for part in irreps.slices())
