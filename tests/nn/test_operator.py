"""The operator: symmetric for every mixer and boundary, whatever the irreps and parameters."""

import copy
import io
import pickle
from contextlib import nullcontext

import pytest
import torch
from e3nn import o3

from e3hyena import HyenaOperator
from e3hyena.ops import naive
from e3hyena.ops.backends import use_backend
from e3hyena.ops.segments import Segments
from e3hyena.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    train_steps,
)

ORDERED = [(mixer, b) for mixer in ("query_key", "filter") for b in ("circular", "causal", "same")]
SETS = [("coordinate", None), ("attention", None), ("linear_attention", None)]
CASES = ORDERED + SETS
MIXERS = [*dict(CASES)]
IRREPS = {
    "scalars and vectors": "4x0e + 4x1o",
    "both parities": "4x0e + 2x0o + 2x1e + 4x1o + 2x2e",
    "unsorted, repeated": "1o + 2x0e + 0x3e + 1o",
    "one kind": "3x1e",
    "up to degree three": "2x0e + 2x1o + 2x2e + 2x3o",
}
SIZES = (7, 1, 0, 12, 5, 12)


def build(mixer: str, boundary: str | None = None, irreps: str = "4x0e + 4x1o") -> HyenaOperator:
    return HyenaOperator(irreps, mixer=mixer, boundary=boundary)


class TestSymmetry:
    @pytest.mark.parametrize("irreps", IRREPS)
    @pytest.mark.parametrize(("mixer", "boundary"), CASES)
    def test_equivariant_also_after_training(
        self, mixer: str, boundary: str | None, irreps: str
    ) -> None:
        seeds = 2 if irreps == "scalars and vectors" else 1
        operator = build(mixer, boundary, IRREPS[irreps])
        assert_equivariant(operator, seeds=seeds)
        assert_equivariant(perturb_parameters(operator), seeds=seeds)
        losses = train_steps(operator, [operator.irreps_in.randn(24, -1)], 10)
        assert losses[-1] < losses[0]
        assert_equivariant(operator, seeds=seeds)

    @pytest.mark.parametrize(("mixer", "boundary"), CASES)
    def test_ragged_batch(self, mixer: str, boundary: str | None) -> None:
        operator = perturb_parameters(build(mixer, boundary))
        batch = torch.repeat_interleave(torch.arange(6), torch.tensor(SIZES))
        assert_equivariant(operator, kwargs={"batch": batch}, seeds=2)

    @pytest.mark.parametrize("mixer", MIXERS)
    def test_other_irreps_out_and_hidden(self, mixer: str) -> None:
        irreps = "4x0e + 2x1o", "2x2e + 1o + 3x0e", "4x0e + 2x1o + 2x2e"
        plain = "attention" in mixer  # which multiplies nothing with the values
        with pytest.warns(UserWarning, match="2e in") if plain else nullcontext():
            operator = HyenaOperator(*irreps, mixer=mixer)
        assert_equivariant(operator, seeds=2)

    @pytest.mark.parametrize(("mixer", "boundary"), SETS)
    def test_order_of_a_set_does_not_matter(self, mixer: str, boundary: str | None) -> None:
        batch = torch.repeat_interleave(torch.arange(6), torch.tensor(SIZES))
        operator = build(mixer, irreps=IRREPS["both parities"])
        assert_permutation_equivariant(operator)
        assert_permutation_equivariant(perturb_parameters(operator), kwargs={"batch": batch})

    @pytest.mark.parametrize(("mixer", "boundary"), ORDERED)
    def test_order_of_a_sequence_matters(self, mixer: str, boundary: str) -> None:
        with pytest.raises(AssertionError, match="depends on the order of tokens"):
            assert_permutation_equivariant(build(mixer, boundary))

    @pytest.mark.parametrize("mixer", ["attention", "linear_attention"])
    def test_attention_with_tensor_product_gating(self, mixer: str) -> None:
        options = {"tensor_product_gating": True}
        operator = HyenaOperator("4x0e + 4x1o", mixer=mixer, mixer_options=options)
        assert_equivariant(operator, seeds=2)
        assert_permutation_equivariant(operator, seeds=2)
        assert_batch_independent(operator, seeds=1)

    @pytest.mark.parametrize(("mixer", "boundary"), ORDERED)
    def test_what_a_boundary_sees(self, mixer: str, boundary: str) -> None:
        """Tokens reach earlier ones, except through a causal boundary."""
        operator = build(mixer, boundary).double()
        x = torch.randn(10, 16, dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(operator(x)[:5].square().sum(), x)
        size = grad.abs().amax(dim=1)
        assert (size[:5] > 1e-3).all()
        if boundary == "causal":
            assert (size[5:] < 1e-12).all()
        else:
            assert (size[5:9] > 1e-8).all()


class TestDefinition:
    """Project, mix, gate, combine with the companion, project: written out with plain loops."""

    @pytest.mark.parametrize("boundary", ["circular", "causal", "same"])
    def test_query_key(self, boundary: str) -> None:
        operator = perturb_parameters(build("query_key", boundary)).double()
        x = torch.randn(11, 16, dtype=torch.float64)
        with torch.no_grad():
            q, k, v = operator.project(x.t())
            mixer = operator.mixer
            u = naive.tensor_product_long_conv(q, k, mixer.weight, mixer.paths, boundary=boundary)
            u = operator.gate(u * 11**-0.5)
            y = naive.tensor_product(u, v, operator.weight, operator.paths)
            expected = operator.output(y).t()
            torch.testing.assert_close(operator(x), expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("mixer", ["filter", "coordinate"])
    def test_combined_with_the_query(self, mixer: str) -> None:
        operator = perturb_parameters(build(mixer)).double()
        x, one = torch.randn(11, 16, dtype=torch.float64), Segments((11,))
        with torch.no_grad():
            q, k, v = operator.project(x.t())
            u = operator.gate(operator.mixer(q, k, v, one))
            y = naive.tensor_product(u, q, operator.weight, operator.paths)
            expected = operator.output((u + y) / 2**0.5).t()
            torch.testing.assert_close(operator(x), expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("mixer", ["attention", "linear_attention"])
    def test_not_combined(self, mixer: str) -> None:
        operator = perturb_parameters(build(mixer)).double()
        x, one = torch.randn(11, 16, dtype=torch.float64), Segments((11,))
        with torch.no_grad():
            u = operator.gate(operator.mixer(*operator.project(x.t()), one))
            torch.testing.assert_close(operator(x), operator.output(u).t(), rtol=1e-12, atol=1e-12)


class TestBatches:
    @pytest.mark.parametrize(("mixer", "boundary"), CASES)
    def test_a_graph_never_depends_on_its_batch_mates(
        self, mixer: str, boundary: str | None
    ) -> None:
        for irreps in ("scalars and vectors", "both parities"):
            operator = perturb_parameters(build(mixer, boundary, IRREPS[irreps]))
            assert_batch_independent(operator, sizes=SIZES, seeds=1)

    @pytest.mark.parametrize("mixer", MIXERS)
    def test_no_gradient_between_graphs(self, mixer: str) -> None:
        operator = build(mixer)
        x = torch.randn(15, 16, requires_grad=True)
        batch = torch.repeat_interleave(torch.arange(3), torch.tensor([6, 2, 7]))
        (grad,) = torch.autograd.grad(operator(x, batch)[batch == 1].square().sum(), x)
        assert grad[batch == 1].any() and not grad[batch != 1].any()

    @pytest.mark.parametrize(("mixer", "boundary"), CASES)
    def test_batch_ptr_and_leading_dimensions_agree(self, mixer: str, boundary: str | None) -> None:
        operator = build(mixer, boundary)
        x = torch.randn(2, 3, 5, 16)
        y = operator(x)
        flat = x.reshape(30, 16)
        batch, ptr = torch.arange(30) // 5, torch.arange(0, 31, 5)
        assert y.shape == x.shape
        torch.testing.assert_close(operator(flat, batch).view_as(y), y)
        torch.testing.assert_close(operator(flat, ptr=ptr).view_as(y), y)
        torch.testing.assert_close(operator(flat, batch, ptr=ptr).view_as(y), y)
        torch.testing.assert_close(operator(x[1, 2]), y[1, 2], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("mixer", "boundary"), CASES)
    def test_empty_and_one_token_graphs(self, mixer: str, boundary: str | None) -> None:
        operator = build(mixer, boundary)
        empty = torch.zeros(0, 16)
        assert operator(empty).shape == (0, 16)
        assert operator(empty, torch.zeros(0, dtype=torch.long)).shape == (0, 16)
        assert operator(empty, ptr=torch.zeros(4, dtype=torch.long)).shape == (0, 16)
        assert operator(torch.zeros(2, 0, 16)).shape == (2, 0, 16)
        assert operator(torch.zeros(0, 5, 16)).shape == (0, 5, 16)
        one = operator(torch.randn(1, 16))
        assert one.isfinite().all() and one.any()


class TestIrreps:
    @pytest.mark.parametrize("mixer", MIXERS)
    @pytest.mark.parametrize(
        ("irreps_in", "irreps_out", "irreps_hidden"),
        [
            ("", "", None),
            ("0x3e", "0x3e", None),
            ("4x0e", "", None),
            ("", "2x0e + 1o", None),
            ("4x0e", "1o", None),
            ("4x0e + 4x1o", "4x0e + 4x1o", "0x3e"),
            ("4x0e", "4x0e", "4x1o"),
        ],
    )
    def test_nothing_flows(
        self, mixer: str, irreps_in: str, irreps_out: str, irreps_hidden: str | None
    ) -> None:
        """Empty irreps, or outputs that no path reaches: zeros of the right shape, no error."""
        expected = "the output is always zero" if o3.Irreps(irreps_out).dim else None
        with pytest.warns(UserWarning, match=expected) if expected else nullcontext():
            operator = HyenaOperator(irreps_in, irreps_out, irreps_hidden, mixer=mixer)
        x = operator.irreps_in.randn(5, -1).requires_grad_()
        y = operator(x, torch.tensor([0, 0, 2, 2, 2]))
        assert y.shape == (5, operator.irreps_out.dim) and not y.any()
        if y.requires_grad:
            y.sum().backward()

    @pytest.mark.parametrize(
        ("irreps_in", "hidden", "channels"),
        [
            ("64x0e + 32x1o", "64x0e + 64x1o", 64),
            ("1o + 2x0e + 0x3e + 1o", "2x0e + 2x1o", 2),
            ("3x1e", "3x1e", 3),
            ("", "", 1),
        ],
    )
    def test_default_hidden_irreps(self, irreps_in: str, hidden: str, channels: int) -> None:
        """The distinct irreps, each with the largest multiplicity among them."""
        operator = HyenaOperator(irreps_in)
        assert operator.irreps_in == operator.irreps_out == o3.Irreps(irreps_in)
        assert operator.irreps_hidden == o3.Irreps(hidden)
        assert operator.mixer.hidden.num_channels == channels

    def test_hidden_irreps_are_sorted_and_merged(self) -> None:
        operator = HyenaOperator("4x0e", irreps_hidden="2x1o + 4x0e + 2x1o + 0x2e")
        assert operator.irreps_hidden == o3.Irreps("4x0e + 4x1o")

    @pytest.mark.parametrize(
        ("mixer", "irreps", "options"),
        [
            ("filter", "4x1o", {}),
            ("query_key", "4x0o", {}),
            ("filter", "8x0e + 4x1o", {"irreps_hidden": "4x1o"}),
        ],
    )
    def test_parity_that_forbids_every_output(self, mixer: str, irreps: str, options: dict) -> None:
        with pytest.warns(UserWarning, match="the output is always zero.*holds none of these"):
            operator = HyenaOperator(irreps, mixer=mixer, **options)
        assert not operator(operator.irreps_in.randn(9, -1)).any()

    @pytest.mark.parametrize(
        ("mixer", "irreps"), [("query_key", "4x1o"), ("coordinate", "4x0o"), ("attention", "4x1o")]
    )
    def test_parity_that_leaves_something(self, mixer: str, irreps: str) -> None:
        operator = HyenaOperator(irreps, mixer=mixer)  # a warning would be an error
        assert operator(operator.irreps_in.randn(9, -1)).abs().max() > 1e-3

    @pytest.mark.parametrize(
        ("irreps", "mixer", "missing", "advice"),
        [
            (("16x0e", "4x1o"), "query_key", "the output", "no irreps_hidden leads there"),
            (("8x0e + 8x1o", "0e + 1e"), "coordinate", "1e in", "hidden='8x0e+8x1o+8x1e'"),
            (("8x0e + 8x1o", "0e + 1e"), "attention", "1e in", "no irreps_hidden leads there"),
            (("8x1o", "0o + 1o"), "coordinate", "0o in", "irreps_hidden='8x0o+8x1o+8x1e'"),
            (("8x1o", "0o + 1o"), "query_key", "0o in", "irreps_hidden='8x0o+8x1o'"),
            (("4x0e + 4x1o", "2e + 1o"), "filter", "2e in", "irreps_hidden='4x0e+4x1o+4x2e'"),
        ],
    )
    def test_kinds_that_are_always_zero(
        self, irreps: tuple[str, str], mixer: str, missing: str, advice: str
    ) -> None:
        """They are named, and the advice is good."""
        with pytest.warns(UserWarning, match=missing) as record:
            operator = HyenaOperator(*irreps, mixer=mixer)
        message = str(record[0].message)
        assert advice in message and record[0].filename == __file__ and len(record) == 1
        x = operator.irreps_in.randn(9, -1)
        reached = operator.reached({ir for _, ir in operator.irreps_in})
        y = operator(x)
        for (_, ir), part in zip(operator.irreps_out, operator.irreps_out.slices(), strict=True):
            assert (y[:, part].abs().max() > 1e-3) == (ir in reached)
        if "irreps_hidden=" in advice:
            hidden = message.split("take irreps_hidden='")[1].split("'")[0]
            y = HyenaOperator(*irreps, hidden, mixer=mixer)(x)  # without a warning
            assert all(y[:, part].abs().max() > 1e-3 for part in operator.irreps_out.slices())

    def test_many_paths_name_a_better_choice(self) -> None:
        with pytest.warns(UserWarning, match="893 paths each.*for example 7x0e\\+7x1o") as record:
            HyenaOperator("7x0e + 5x1o", irreps_hidden="7x0e + 5x1o")
        assert record[0].filename == __file__

    def test_repr(self) -> None:
        operator = HyenaOperator("8x0e + 4x1o", "1o", mixer="coordinate")
        first = repr(operator).split("\n")[1]
        numel = sum(p.numel() for p in operator.parameters())
        assert first.strip() == (
            "8x0e+4x1o -> 8x0e+8x1o -> 1x1o, 8 channels of 1x0e+1x1o, "
            f"mixer='coordinate' | {numel} parameters"
        )


class TestGradients:
    @pytest.mark.parametrize(("mixer", "boundary"), CASES)
    def test_finite_at_zero_input(self, mixer: str, boundary: str | None) -> None:
        operator = perturb_parameters(build(mixer, boundary, IRREPS["both parities"]))
        x = torch.zeros(5, operator.irreps_in.dim, requires_grad=True)
        y = operator(x)
        grads = torch.autograd.grad(y.square().sum() + y.sum(), [x, *operator.parameters()])
        assert all(grad.isfinite().all() for grad in grads)

    @pytest.mark.parametrize(
        ("mixer", "boundary"), [case for case in CASES if case[0] != "attention"]
    )
    def test_first_and_second_order(self, mixer: str, boundary: str | None) -> None:
        operator = build(mixer, boundary, "2x0e + 2x1o").double()
        batch = torch.tensor([0, 0, 0, 1, 1])
        x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: operator(x, batch), x, fast_mode=True)
        assert torch.autograd.gradgradcheck(lambda x: operator(x, batch), x, fast_mode=True)

    def test_attention_is_differentiable_once(self) -> None:
        operator = build("attention", irreps="2x0e + 2x1o").double()
        x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(operator, x, fast_mode=True)

    @pytest.mark.parametrize(("mixer", "boundary"), CASES)
    def test_every_parameter_matters(self, mixer: str, boundary: str | None) -> None:
        operator = build(mixer, boundary)
        operator(torch.randn(9, 16)).square().sum().backward()
        for name, parameter in operator.named_parameters():
            assert parameter.grad is not None and parameter.grad.any(), name


class TestState:
    @pytest.mark.parametrize("mixer", MIXERS)
    def test_state_holds_parameters_only_and_loads(self, mixer: str) -> None:
        operator, other = build(mixer), perturb_parameters(build(mixer))
        assert set(operator.state_dict()) == {name for name, _ in operator.named_parameters()}
        file = io.BytesIO()
        torch.save(operator.state_dict(), file)
        file.seek(0)
        x = torch.randn(9, 16)
        assert not torch.equal(other(x), operator(x))
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(x), operator(x))

    @pytest.mark.parametrize("mixer", MIXERS)
    def test_copies(self, mixer: str) -> None:
        operator, x = build(mixer), torch.randn(9, 16)
        for other in (copy.deepcopy(operator), pickle.loads(pickle.dumps(operator))):
            assert torch.equal(other(x), operator(x))
            assert repr(other) == repr(operator)

    def test_a_seed_decides(self) -> None:
        outputs = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            operator = build("coordinate")
            outputs.append(operator(torch.ones(3, 16)))
        assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


whole_graphs = pytest.mark.skipif(
    torch.__version__.startswith("2.4."), reason="torch 2.4 traces no cached properties"
)


class TestCompilers:
    @whole_graphs
    @pytest.mark.parametrize("mixer", ["query_key", "coordinate"])
    def test_compiled_full_graph(self, mixer: str) -> None:
        torch.compiler.reset()
        operator = build(mixer)
        compiled = torch.compile(operator, backend="aot_eager", fullgraph=True)
        x = torch.randn(12, 16, requires_grad=True)
        y, expected = compiled(x), operator(x)
        torch.testing.assert_close(y, expected)
        leaves = [x, *operator.parameters()]
        grads = torch.autograd.grad(y.square().sum(), leaves)
        wanted = torch.autograd.grad(expected.square().sum(), leaves)
        torch.testing.assert_close(grads, wanted)
        torch.compiler.reset()

    def test_compiled_ragged(self) -> None:
        """Graph sizes are Python numbers, so a batch breaks the graph, but computes the same."""
        torch.compiler.reset()
        operator = build("linear_attention")
        batch = torch.tensor([0] * 5 + [1] * 7)
        x = torch.randn(12, 16)
        with torch.no_grad():
            y = torch.compile(operator, backend="aot_eager")(x, batch)
            torch.testing.assert_close(y, operator(x, batch))
        torch.compiler.reset()

    @whole_graphs
    @pytest.mark.parametrize("mixer", ["query_key", "coordinate"])
    def test_exported(self, mixer: str) -> None:
        operator, x = build(mixer), torch.randn(12, 16)
        program = torch.export.export(operator, (x,))
        torch.testing.assert_close(program.module()(2 * x), operator(2 * x))

    @whole_graphs
    def test_tables_made_while_torch_exports_serve_afterwards(self) -> None:
        """17 and 36 tokens share a transform, whose places are kept."""
        operator, x = build("query_key"), torch.randn(53, 16)

        class Fixed(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return operator(x, Segments((17, 36)))

        with use_backend("eager"):
            program = torch.export.export(Fixed(), (x,))
            torch.testing.assert_close(program.module()(2 * x), Fixed()(2 * x))


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            (("4x0e + blah",), {}, "irreps_in='4x0e \\+ blah' does not parse"),
            ((3,), {}, "irreps_in=3 does not parse"),
            (("4x0e", "3q"), {}, "irreps_out='3q' does not parse"),
            (("4x0e", None, "3q"), {}, "irreps_hidden='3q' does not parse"),
            (("4x0e",), {"mixer": "fnet"}, "mixer='fnet' is unknown; use one of query_key, filter"),
            (("4x0e",), {"boundary": "periodic"}, "use one of circular, causal, same"),
            (
                ("4x0e",),
                {"mixer": "attention", "boundary": "causal"},
                "treats tokens as a set and has no boundary.*leave it out",
            ),
            (
                ("4x0e",),
                {"mixer": "coordinate", "mixer_options": {"heads": 3}},
                "heads=3 does not divide 4 channels; use \\[1, 2, 4\\]",
            ),
        ],
    )
    def test_construction(self, arguments: tuple, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            HyenaOperator(*arguments, **options)

    def test_unknown_mixer_option(self) -> None:
        with pytest.raises(TypeError, match="head_count"):
            HyenaOperator("4x0e", mixer_options={"head_count": 3})

    @pytest.mark.parametrize("shape", [(5, 15), (16,), (2, 5, 17)])
    def test_wrong_shape(self, shape: tuple[int, ...]) -> None:
        match = r"irreps_in=4x0e\+4x1o wants \(num_tokens, 16\)"
        with pytest.raises(ValueError, match=match):
            build("query_key")(torch.randn(shape))

    def test_integer_features(self) -> None:
        with pytest.raises(TypeError, match=r"torch\.int64; convert them to a floating type"):
            build("query_key")(torch.zeros(5, 16, dtype=torch.long))

    def test_features_of_another_library(self) -> None:
        with pytest.raises(TypeError, match=r"ndarray; give a torch\.Tensor"):
            build("query_key")(torch.zeros(5, 16).numpy())

    @pytest.mark.parametrize(
        ("batch", "error", "message"),
        [
            ([0, 1, 0], ValueError, "batch is unsorted.*torch.argsort"),
            ([0, 1], ValueError, "batch has 2 entries for 3 tokens"),
            ([-1, 0, 0], ValueError, "negative graph index -1"),
            ([0.0, 0.0, 1.0], TypeError, "batch has dtype torch.float32"),
        ],
    )
    def test_batch(self, batch: list, error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            build("coordinate")(torch.randn(3, 16), torch.tensor(batch))

    @pytest.mark.parametrize("ptr", [[0, 2], [1, 3], [0, 2, 1, 3], []])
    def test_ptr(self, ptr: list[int]) -> None:
        with pytest.raises(ValueError, match="must rise from 0 to the number of tokens, 3"):
            build("coordinate")(torch.randn(3, 16), ptr=torch.tensor(ptr, dtype=torch.long))

    def test_batch_with_leading_dimensions(self) -> None:
        with pytest.raises(ValueError, match="either leading dimensions or batch/ptr"):
            build("query_key")(torch.randn(2, 3, 16), torch.zeros(3, dtype=torch.long))

    def test_batch_and_ptr_disagree(self) -> None:
        batch, ptr = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 3])
        with pytest.raises(ValueError, match="name different graphs"):
            build("query_key")(torch.randn(3, 16), batch, ptr=ptr)
