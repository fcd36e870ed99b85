"""The checker accepts correct layers and catches broken ones."""

import pytest
import torch
from e3nn import nn as enn
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.utils import scatter, softmax

from e3hyena.testing import (
    NETWORK_TOLERANCE,
    Errors,
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    random_element,
    train_steps,
    wigner_matrix,
)

IRREPS = "8x0e + 4x0o + 4x1o + 2x2e"


class Messages(nn.Module):
    """Positions and features in, messages over all pairs of a graph: E(3) and permutations."""

    def __init__(self, irreps: str = IRREPS) -> None:
        super().__init__()
        self.irreps_out = o3.Irreps(irreps)
        sh = o3.Irreps.spherical_harmonics(2)
        self.product = o3.FullyConnectedTensorProduct(irreps, sh, irreps)

    def forward(self, x: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        if batch is None:
            batch = torch.zeros(len(x), dtype=torch.long)
        i, j = (batch[:, None] == batch).nonzero().T
        edge = pos[i] - pos[j]
        sh = o3.spherical_harmonics([0, 1, 2], edge, normalize=False)
        weight = torch.exp(-edge.square().sum(-1, keepdim=True))
        return scatter(self.product(x[j], sh) * weight, i, dim=0, dim_size=len(x))


class Attention(nn.Module):
    """Softmax over the tokens of a graph, weights by inner products."""

    def __init__(self, irreps: str = IRREPS) -> None:
        super().__init__()
        self.irreps_in = self.irreps_out = o3.Irreps(irreps)
        self.query = o3.Linear(irreps, irreps)

    def forward(self, x: Tensor, batch: Tensor | None = None) -> Tensor:
        if batch is None:
            batch = torch.zeros(len(x), dtype=torch.long)
        i, j = (batch[:, None] == batch).nonzero().T
        score = (self.query(x)[i] * x[j]).sum(-1) / x.shape[-1] ** 0.5
        weight = softmax(score, i, num_nodes=len(x))
        return scatter(weight[:, None] * x[j], i, dim=0, dim_size=len(x))


@pytest.fixture
def messages() -> Messages:
    """Built in float64, so that its coupling coefficients are exact in both dtypes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return Messages()
    finally:
        torch.set_default_dtype(before)


def gate() -> enn.Gate:
    return enn.Gate("4x0e", [torch.tanh], "3x0e", [torch.sigmoid], "2x1o + 1x2e")


class TestElements:
    @pytest.mark.parametrize("degree", range(9))
    def test_wigner_matrices_represent_rotations(self, degree: int) -> None:
        a, b = random_element(1).rotation, random_element(2).rotation
        D = wigner_matrix(degree, a)
        eye = torch.eye(2 * degree + 1, dtype=torch.float64)
        torch.testing.assert_close(D @ D.T, eye, rtol=0, atol=2e-14)
        product = D @ wigner_matrix(degree, b)
        torch.testing.assert_close(wigner_matrix(degree, a @ b), product, rtol=0, atol=2e-14)
        x = torch.randn(50, 3, dtype=torch.float64)
        rotated = o3.spherical_harmonics(degree, x @ a.T, normalize=True)
        harmonics = o3.spherical_harmonics(degree, x, normalize=True)
        torch.testing.assert_close(rotated, harmonics @ D.T, rtol=0, atol=5e-14)

    def test_agrees_with_e3nn(self) -> None:
        irreps = o3.Irreps("2x0o + 3x1e + 0x3e + 1x2o + 1x1o")
        for inversion in (False, True):
            g = random_element(3, inversion=inversion)
            matrix = -g.rotation if inversion else g.rotation
            D = irreps.D_from_matrix(matrix.float()).double()  # e3nn's accuracy
            x = torch.randn(5, irreps.dim, dtype=torch.float64)
            torch.testing.assert_close(g(x, irreps), x @ D.T, rtol=0, atol=5e-5)
            vectors = x[:, -3:]
            torch.testing.assert_close(g(vectors, "1o"), g(vectors, "cartesian_points"))

    def test_no_irreps(self) -> None:
        assert random_element(0)(torch.zeros(5, 0), "").shape == (5, 0)


class TestAcceptsCorrectLayers:
    def test_linear(self) -> None:
        errors = assert_equivariant(o3.Linear(IRREPS, IRREPS))
        assert errors.float32 < 1e-6 and 0 < errors.float64 < 1e-14 and errors.ratio > 1e6

    def test_gate(self) -> None:
        assert_equivariant(gate())

    def test_messages_with_positions(self, messages: Messages) -> None:
        inputs = [IRREPS, "cartesian_points"]
        errors = assert_equivariant(messages, inputs, translation=True, tolerance=NETWORK_TOLERANCE)
        assert errors.ratio > 1e6
        assert_permutation_equivariant(messages, inputs)
        assert_batch_independent(messages, inputs)

    def test_attention(self) -> None:
        batch = torch.tensor([0] * 9 + [1] + [2] * 6)
        assert_equivariant(Attention(), kwargs={"batch": batch})
        assert_permutation_equivariant(Attention(), kwargs={"batch": batch})
        assert_batch_independent(Attention(), sizes=(4, 0, 1, 9))

    def test_invariant_arguments_and_several_outputs(self) -> None:
        table = torch.randn(10, 3, dtype=torch.float64)

        def layer(z: Tensor, pos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            weight = table.to(pos.dtype)[z]
            centre = pos.mean(0)
            moved = pos + weight[:, :1] * (pos - centre)
            return weight * (pos - centre).norm(dim=-1, keepdim=True), moved, pos - centre

        numbers = torch.arange(10)
        assert_equivariant(
            layer,
            [None, "cartesian_points"],
            [None, "cartesian_points", "1o"],
            args_in=[numbers, None],
            translation=True,
        )

    def test_rotations_only(self) -> None:
        def cross(x: Tensor) -> Tensor:
            return torch.linalg.cross(x[:, :3], x[:, 3:])

        assert_equivariant(cross, "2x1o", "1o", reflection=False)
        assert_equivariant(cross, "2x1o", "1e")

    def test_pooled_output(self) -> None:
        def pool(x: Tensor, batch: Tensor) -> Tensor:
            return scatter(x, batch, dim=0, dim_size=int(batch.max()) + 1)

        batch = torch.tensor([0] * 5 + [1] * 3 + [2] * 6 + [3])
        assert_permutation_equivariant(pool, IRREPS, kwargs={"batch": batch})
        assert_batch_independent(pool, IRREPS)

    def test_no_outputs(self) -> None:
        assert assert_equivariant(lambda x: x[:, :0], "1o", "") == Errors(0.0, 0.0)

    def test_module_and_random_state_are_left_alone(self) -> None:
        layer = o3.Linear("4x1o", "4x1o")
        before = {key: value.clone() for key, value in layer.state_dict().items()}
        state = torch.get_rng_state()
        assert_equivariant(layer)
        assert torch.equal(torch.get_rng_state(), state)
        for key, value in layer.state_dict().items():
            assert value.dtype == torch.float32 and torch.equal(value, before[key])


BROKEN = {
    "nan": (lambda x: x * float("nan"), "not finite"),
    "zero": (lambda x: 0 * x, "all zero"),
    "zero vectors": (lambda x: x * (torch.arange(x.shape[-1]) < 1), "other than 0e are zero"),
    "small break": (lambda x: x + 1e-4 * x[:, :1].abs(), r"not equivariant, seed 0, rotation"),
    "constant bias": (lambda x: x + 1e-3, "not equivariant"),
    "ignores input": (lambda x: torch.full_like(x, 2.0), "does not depend on the input"),
    "random": (lambda x: nn.functional.dropout(x), "two calls differ"),
    "always float32": (lambda x: x.float(), "returns torch.float32 for torch.float64 input"),
    "absolute values": (lambda x: x.abs(), "not equivariant"),
    "too wide": (lambda x: torch.cat([x, x], -1), "last dimension of the output is 14"),
}


class TestCatchesBrokenLayers:
    @pytest.mark.parametrize("name", BROKEN)
    def test_broken(self, name: str) -> None:
        function, message = BROKEN[name]
        with pytest.raises(AssertionError, match=message):
            assert_equivariant(function, "1x0e + 2x1o", "1x0e + 2x1o")

    def test_small_break_in_float32_alone(self) -> None:
        def half_precision_noise(x: Tensor) -> Tensor:
            return x.half().to(x.dtype) if x.dtype == torch.float32 else x

        with pytest.raises(AssertionError, match=r"in torch\.float32, tolerance 5e-06"):
            assert_equivariant(half_precision_noise, "4x1o", "4x1o")

    def test_wrong_parity(self) -> None:
        def cross(x: Tensor) -> Tensor:
            return torch.linalg.cross(x[:, :3], x[:, 3:])

        with pytest.raises(AssertionError, match="with inversion: relative error 2"):
            assert_equivariant(cross, "2x1o", "1o")

    def test_absolute_positions(self) -> None:
        def radius(pos: Tensor) -> Tensor:
            return pos.norm(dim=-1, keepdim=True)

        assert_equivariant(radius, "cartesian_points", "0e")
        with pytest.raises(AssertionError, match="translation"):
            assert_equivariant(radius, "cartesian_points", "0e", translation=True)

    def test_coefficients_rounded_to_float32(self) -> None:
        """Within a generous tolerance, but no round-off: only the ratio tells."""
        square = o3.TensorSquare("4x1o + 2x2e", "4x0e + 2x1e + 2x2e + 1x3e + 1x4e")
        loose = (1e-6, 1e-6)
        errors = assert_equivariant(square, tolerance=loose, check_ratio=False)
        assert 1e-9 < errors.float64 < errors.float32
        with pytest.raises(AssertionError, match="hardly shrinks"):
            assert_equivariant(square, tolerance=loose)

    def test_order_of_tokens(self) -> None:
        def shift(x: Tensor) -> Tensor:
            return x + 1e-3 * x.roll(1, dims=0)

        assert_equivariant(shift, IRREPS, IRREPS)
        with pytest.raises(AssertionError, match="order of tokens"):
            assert_permutation_equivariant(shift, IRREPS)

    def test_leak_between_graphs(self) -> None:
        def leak(x: Tensor, batch: Tensor) -> Tensor:
            return x + 1e-3 * x.mean(dim=0)

        with pytest.raises(AssertionError, match="alone differs"):
            assert_batch_independent(leak, IRREPS)

    def test_masking_by_multiplication_leaks_nan(self) -> None:
        def masked_sum(x: Tensor, batch: Tensor) -> Tensor:
            mask = (batch[:, None] == batch).to(x.dtype)
            return mask @ x

        assert_batch_independent(masked_sum, IRREPS, poison=False)
        with pytest.raises(AssertionError, match="changes other graphs"):
            assert_batch_independent(masked_sum, IRREPS)

    def test_nan_swallowed(self) -> None:
        with pytest.raises(AssertionError, match="disappears"):
            assert_batch_independent(lambda x, batch: torch.nan_to_num(x), IRREPS)


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            ((), {}, "no attribute irreps_in"),
            (("1o",), {}, "no attribute irreps_out"),
            (("1q", "1o"), {}, "irreps_in='1q' does not parse"),
            ((["1o", None], "1o"), {}, "argument 1 is invariant"),
            (([None], "1o"), {}, "nothing to transform"),
            (("1o", "1o"), {"args_in": []}, "args_in has 0 entries"),
            (("1o", ["1o", "1o"]), {}, "returns 1 tensors, irreps_out has 2"),
            (("1o", "1o"), {"translation": True}, "needs an argument"),
        ],
    )
    def test_says_what_is_wrong(self, arguments: tuple, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            assert_equivariant(lambda x: x, *arguments, **options)

    def test_rows_neither_tokens_nor_graphs(self) -> None:
        with pytest.raises(ValueError, match="one per token"):
            assert_batch_independent(lambda x, batch: x[:3], IRREPS)


class TestParameters:
    def test_perturbation(self) -> None:
        layer = o3.Linear(IRREPS, IRREPS)
        before = layer.weight.clone()
        assert perturb_parameters(layer, scale=0.5, seed=3) is layer
        assert 0.3 < (layer.weight - before).std() < 0.7
        assert_equivariant(layer)

    def test_training(self) -> None:
        layer = Attention()
        x = layer.irreps_in.randn(16, -1)
        losses = train_steps(layer, [x], steps=5)
        assert len(losses) == 5 and losses[-1] < losses[0]
        assert_equivariant(layer)

    def test_training_stops_at_a_gradient_that_is_not_finite(self) -> None:
        class Norm(nn.Linear):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x).norm(dim=-1)

        layer = Norm(2, 2, bias=False)
        with pytest.raises(AssertionError, match="not finite at step 0"):
            train_steps(layer, [torch.zeros(3, 2, requires_grad=True) * float("inf")])
