"""The token-wise tensor product against the plain loop and against e3nn."""

import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops import Paths, naive, tensor_product
from e3hyena.testing import random_element
from e3hyena.testing.measure import relative_error

FORWARD = {torch.float32: 1e-5, torch.float64: 1e-12}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-10}
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]

backends = pytest.mark.usefixtures("backend")


def value_and_gradients(function, leaves, cotangent, paths, dtype, device="cpu"):
    copies = [x.detach().to(device, dtype).requires_grad_() for x in leaves]
    y = function(*copies, paths)
    return [y.detach(), *torch.autograd.grad(y, copies, cotangent.to(device, dtype))]


def plain_loop(x1, x2, weight, paths):
    """The reference; what has no paths still depends on its arguments, with zero gradients."""
    return naive.tensor_product(x1, x2, weight, paths) + 0 * (x1.sum() + x2.sum() + weight.sum())


def compare_with_naive(leaves, paths, device="cpu"):
    lead = torch.broadcast_shapes(leaves[0].shape[:-2], leaves[1].shape[:-2])
    cotangent = torch.randn(*lead, paths.dims[2], leaves[0].shape[-1])
    expected = value_and_gradients(plain_loop, leaves, cotangent, paths, torch.float64)
    for dtype in FORWARD:
        actual = value_and_gradients(tensor_product, leaves, cotangent, paths, dtype, device)
        for name, a, e in zip(("y", "x1", "x2", "weight"), actual, expected, strict=True):
            assert a.dtype == dtype and a.device.type == device
            limit = FORWARD[dtype] if name == "y" else GRADIENT[dtype]
            assert relative_error([a.cpu().double()], [e]) <= limit, f"{name} in {dtype}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [0, 1, 5, 64])
def test_equals_the_plain_loop(operands, paths, n, device):
    compare_with_naive(operands(paths, n), paths, device)


@backends
@pytest.mark.parametrize("device", DEVICES)
def test_many_channels_and_tokens_beyond_one_block(operands, device):
    paths = Paths("0e + 1o + 2e", "0e + 1o + 2e", "0e + 1o + 2e")
    compare_with_naive(operands(paths, 500, lead=(3,), channels=16), paths, device)


@backends
@pytest.mark.parametrize(
    ("lead1", "lead2"), [((3,), ()), ((), (2, 2)), ((2, 1), (3,)), ((0,), ()), ((2, 0, 1), (4,))]
)
def test_leading_dimensions_broadcast(operands, lead1, lead2):
    paths = Paths("0e + 1o", "1o", "0e + 1e + 1o")
    x1, _, weight = operands(paths, 6, lead=lead1)
    _, x2, _ = operands(paths, 6, lead=lead2, seed=1)
    compare_with_naive([x1, x2, weight], paths)


@pytest.mark.parametrize(
    "irreps",
    [
        ("0e + 1o", "0e + 1o", "0e + 1o + 1e"),
        ("0o + 1e + 1o", "1o + 2o + 0o", "2e + 1o + 0o + 0e"),
        ("3o + 1o + 4e", "2e + 1o", "3e + 2o + 1o"),
    ],
)
def test_equals_e3nn(operands, irreps):
    """e3nn's "uuu" connection, component and element normalisation."""
    paths = Paths(*irreps)
    channels, tokens = 4, 10
    x1, x2, weight = (x.detach().float() for x in operands(paths, tokens, channels=channels))
    many = [
        o3.Irreps([(channels, ir) for _, ir in irreps])
        for irreps in (paths.irreps1, paths.irreps2, paths.irreps_out)
    ]
    instructions = [(*indices, "uuu", True) for indices in paths.instructions]
    reference = o3.TensorProduct(
        *many, instructions, irrep_normalization="component", path_normalization="element"
    )

    def to_mul_ir(x, irreps):
        blocks = [x[:, part].permute(2, 0, 1).flatten(1) for part in irreps.slices()]
        return torch.cat(blocks, dim=1)

    expected = reference(
        to_mul_ir(x1, paths.irreps1), to_mul_ir(x2, paths.irreps2), weight.flatten()
    )
    y = to_mul_ir(tensor_product(x1, x2, weight, paths), paths.irreps_out)
    assert relative_error([y], [expected]) <= 1e-5


@backends
def test_gradcheck_and_gradgradcheck(operands, small_paths):
    def function(x1, x2, weight):
        return tensor_product(x1, x2, weight, small_paths)

    for n, lead in ((1, ()), (3, ()), (2, (2,))):
        leaves = operands(small_paths, n, lead=lead, channels=1)
        assert gradcheck(function, leaves)
        assert gradgradcheck(function, leaves, fast_mode=True)
    paths = Paths("0e + 1o", "1o", "1e + 0e")
    leaves = operands(paths, 2, lead=(2,))
    assert gradgradcheck(lambda *leaves: tensor_product(*leaves, paths), leaves)


irreps = st.lists(
    st.sampled_from(["0e", "0o", "1o", "1e", "2e", "3o", "0x1o", "2x0e"]), min_size=1, max_size=3
).map(" + ".join)
cases = st.fixed_dictionaries(
    {
        "paths": st.builds(Paths, irreps, irreps, irreps),
        "n": st.integers(0, 9),
        "lead": st.lists(st.integers(1, 2), max_size=2).map(tuple),
        "channels": st.integers(1, 3),
        "seed": st.integers(0, 99),
    }
)


def draw(operands, case, seed_shift=0):
    case = dict(case, seed=case["seed"] + seed_shift)
    return [x.detach() for x in operands(case.pop("paths"), case.pop("n"), **case)]


@given(case=cases)
def test_linear_in_each_argument(operands, case):
    first, second = draw(operands, case), draw(operands, case, seed_shift=100)

    def product(*arguments):
        return tensor_product(*arguments, case["paths"])

    for slot in range(3):
        mixed, other = list(first), list(first)
        mixed[slot] = 2 * first[slot] - 3 * second[slot]
        other[slot] = second[slot]
        expected = 2 * product(*first) - 3 * product(*other)
        assert torch.allclose(product(*mixed), expected, rtol=0, atol=1e-11)


@given(case=cases, inversion=st.booleans())
def test_equivariant(operands, case, inversion):
    x1, x2, weight = draw(operands, case)
    paths, g = case["paths"], random_element(case["seed"], inversion=inversion)

    def act(x, irreps):
        return g(x.transpose(-1, -2), irreps).transpose(-1, -2)

    y = tensor_product(x1, x2, weight, paths)
    moved = tensor_product(act(x1, paths.irreps1), act(x2, paths.irreps2), weight, paths)
    assert relative_error([moved], [act(y, paths.irreps_out)]) <= 1e-12


@given(case=cases, seed=st.integers(0, 9))
def test_tokens_do_not_meet(operands, case, seed):
    x1, x2, weight = draw(operands, case)
    order = torch.randperm(case["n"], generator=torch.Generator().manual_seed(seed))
    y = tensor_product(x1, x2, weight, case["paths"])
    permuted = tensor_product(x1[..., order], x2[..., order], weight, case["paths"])
    assert relative_error([permuted], [y[..., order]]) <= 1e-14
    if case["n"] and y.numel():
        x1 = x1.clone()
        x1[..., 0] = float("nan")
        assert not tensor_product(x1, x2, weight, case["paths"])[..., 1:].isnan().any()
