"""The preset is the paper's operator: checked against plain loops over its equations."""

import pytest
import torch
from e3nn import o3
from torch import Tensor

from e3hyena import SE3Hyena
from e3hyena.ops.segments import Segments
from e3hyena.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    train_steps,
)

IRREPS = "4x0e + 2x1o"
HIDDEN = "3x0e + 2x1o"


def build() -> SE3Hyena:
    return SE3Hyena(IRREPS, irreps_hidden=HIDDEN, num_channels=4)


def scalar_convolution(q: Tensor, k: Tensor) -> Tensor:
    """``u_i = 1/N sum_j q_j k_(i-j mod N)``, tokens first."""
    n, u = len(q), torch.zeros_like(q)
    for i in range(n):
        for j in range(n):
            u[i] += q[j] * k[(i - j) % n] / n
    return u


def vector_convolution(q: Tensor, k: Tensor) -> Tensor:
    """``u_i = 1/N sum_j q_j x k_(i-j mod N)``, tokens first, vectors last."""
    n, u = len(q), torch.zeros_like(q)
    for i in range(n):
        for j in range(n):
            u[i] += torch.linalg.cross(q[j], k[(i - j) % n]) / n
    return u


def transcription(operator: SE3Hyena, x: Tensor) -> Tensor:
    """Paper-like pseudocode of one graph; the four MLPs are taken as given functions."""
    num_scalars, num_vectors = operator.num_scalars, operator.num_vectors

    def streams(tokens: Tensor) -> tuple[Tensor, Tensor]:
        return tokens[:, :num_scalars], tokens[:, num_scalars:].reshape(-1, num_vectors, 3)

    width = num_scalars + 3 * num_vectors
    projected = operator.projection(x)
    (q_i, q_e), (k_i, k_e), (v_i, v_e) = (
        streams(projected[:, start : start + width]) for start in range(0, 3 * width, width)
    )
    u_i, u_e = scalar_convolution(q_i, k_i), vector_convolution(q_e, k_e)
    m = operator.gate(torch.cat([u_i, u_e.flatten(1)], dim=1))
    u_i = torch.sigmoid(m[:, :num_scalars]) * u_i
    u_e = torch.sigmoid(m[:, num_scalars:])[:, :, None] * u_e
    f, r = streams(operator.skip(x))
    f, r = f + u_i * v_i, r + torch.linalg.cross(u_e, v_e)
    return operator.output(torch.cat([f, r.flatten(1)], dim=1))


@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 23])
def test_convolutions_are_the_papers(n: int) -> None:
    operator = build()
    q, k = torch.randn(2, n, 2, 3, dtype=torch.float64)
    u = operator.long_conv(
        q.permute(1, 2, 0), k.permute(1, 2, 0), operator.cross, Segments((n,))
    ).permute(2, 0, 1)
    expected = vector_convolution(q, k)
    torch.testing.assert_close(u, expected, rtol=0, atol=1e-12 * expected.abs().max().item())
    q, k = torch.randn(2, n, 3, dtype=torch.float64)
    u = operator.long_conv(q.T[:, None], k.T[:, None], operator.scalar_paths, Segments((n,)))
    expected = scalar_convolution(q, k)
    limit = 1e-12 * expected.abs().max().item()
    torch.testing.assert_close(u[:, 0].T, expected, rtol=0, atol=limit)


def test_cross_product_keeps_its_sign() -> None:
    operator = build()
    a, b = torch.eye(3, dtype=torch.float64)[:2, None, :, None]
    for paths in (operator.cross, operator.cross_back):
        product = operator.cross_product(a, b, paths).flatten()
        torch.testing.assert_close(product, torch.tensor([0.0, 0, 1], dtype=torch.float64))


@pytest.mark.parametrize("n", [1, 2, 16, 23])
def test_operator_is_the_papers(n: int) -> None:
    operator = perturb_parameters(build()).double()
    x = torch.randn(n, 10, dtype=torch.float64)
    with torch.no_grad():
        y, expected = operator(x), transcription(operator, x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


def test_every_graph_keeps_its_own_length() -> None:
    operator = build().double()
    x = torch.randn(12, 10, dtype=torch.float64)
    parts = [x[:7], x[7:8], x[8:]]
    with torch.no_grad():
        y = operator(x, ptr=torch.tensor([0, 7, 7, 8, 12]))
        expected = torch.cat([transcription(operator, part) for part in parts])
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


def test_equivariant_also_after_training() -> None:
    operator = build()
    assert_equivariant(operator)
    assert_equivariant(perturb_parameters(operator))
    losses = train_steps(operator, [operator.irreps_in.randn(24, -1)], 20)
    assert losses[-1] < losses[0]
    assert_equivariant(operator)


def test_other_irreps() -> None:
    operator = SE3Hyena("2x1o + 3x0e + 1e", "1o + 1e", "4x0e + 1o", num_channels=4)
    assert_equivariant(operator, seeds=2)
    assert_equivariant(SE3Hyena("4x0e", irreps_hidden="3x0e", num_channels=2), seeds=2)


def test_order_matters() -> None:
    with pytest.raises(AssertionError, match="order of tokens"):
        assert_permutation_equivariant(build())


def test_batches() -> None:
    assert_batch_independent(perturb_parameters(build()), sizes=(7, 1, 0, 12, 5, 7))
    assert build()(torch.zeros(0, 10)).shape == (0, 10)


def test_gradients() -> None:
    operator = SE3Hyena("2x0e + 1o", irreps_hidden="2x0e + 1o", num_channels=2).double()
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(operator, x, fast_mode=True)
    zero = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(operator(zero).sum(), zero)
    assert grad.isfinite().all()


def test_state_holds_parameters_only() -> None:
    operator = build()
    assert set(operator.state_dict()) == {name for name, _ in operator.named_parameters()}
    assert operator.irreps_hidden == o3.Irreps(HIDDEN)
    numel = sum(p.numel() for p in operator.parameters())
    assert operator.extra_repr() == (
        f"4x0e+2x1o -> 3x0e+2x1o -> 4x0e+2x1o, circular | {numel} parameters"
    )


@pytest.mark.parametrize("hidden", ["4x0e + 2x2e", "4x0e + 1e", "0o"])
def test_scalars_and_vectors_only(hidden: str) -> None:
    with pytest.raises(ValueError, match=r"scalars and vectors only.*use HyenaOperator"):
        SE3Hyena(IRREPS, irreps_hidden=hidden)


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match=r"wants \(num_tokens, 10\)"):
        build()(torch.randn(5, 11))
    with pytest.raises(ValueError, match="batch is unsorted"):
        build()(torch.randn(3, 10), torch.tensor([1, 0, 1]))
    with pytest.raises(ValueError, match="irreps_in='q' does not parse"):
        SE3Hyena("q")


@pytest.mark.parametrize(
    ("irreps", "zero"), [(("4x0e + 1o", "1o + 0o"), "0o in"), (("4x0e", "1o"), "the output")]
)
def test_kinds_that_are_always_zero(irreps: tuple[str, str], zero: str) -> None:
    with pytest.warns(UserWarning, match=f"{zero}.* always zero: .*take HyenaOperator") as record:
        operator = SE3Hyena(*irreps, "4x0e + 1o", num_channels=4)
    assert record[0].filename == __file__
    y = operator(operator.irreps_in.randn(9, -1))
    reached = operator.reached({ir for _, ir in operator.irreps_in})
    for (_, ir), part in zip(operator.irreps_out, operator.irreps_out.slices(), strict=True):
        assert y[:, part].any() == (ir in reached)
