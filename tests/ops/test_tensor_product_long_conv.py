"""The FFT long convolution against the plain loop, and the laws it obeys."""

import functools

import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from e3hyena.ops import Paths, naive, tensor_product_long_conv
from e3hyena.ops.paths import paths_from_key
from e3hyena.ops.transforms import BOUNDARIES
from e3hyena.testing import random_element
from e3hyena.testing.measure import relative_error

FORWARD = {torch.float32: 1e-5, torch.float64: 1e-12}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-10}
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]

boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)
backends = pytest.mark.usefixtures("backend")


def value_and_gradients(function, leaves, cotangent, paths, boundary, dtype, device="cpu"):
    """Output, then the gradients by q, k and weight, on copies of the leaves."""
    copies = [x.detach().to(device, dtype).requires_grad_() for x in leaves]
    y = function(*copies, paths, boundary=boundary)
    return [y.detach(), *torch.autograd.grad(y, copies, cotangent.to(device, dtype))]


@functools.cache  # the plain loop is slow, and every back-end is compared with it
def reference(operands, key, boundary, n, channels, lead_q, lead_k):
    """Operands, the output's cotangent, and what the plain loop makes of them in float64."""
    paths = paths_from_key(key)
    q, _, weight = operands(paths, n, lead=lead_q, channels=channels)
    _, k, _ = operands(paths, n, lead=lead_k, channels=channels, seed=1)
    lead = torch.broadcast_shapes(lead_q, lead_k)
    cotangent = torch.randn(*lead, channels, paths.dims[2], n)
    leaves = [q, k, weight]
    function = naive.tensor_product_long_conv
    expected = value_and_gradients(function, leaves, cotangent, paths, boundary, torch.float64)
    return leaves, cotangent, expected


def compare_with_naive(
    operands, paths, n, boundary, *, channels=2, lead_q=(), lead_k=(), device="cpu"
):
    leaves, cotangent, expected = reference(
        operands, paths.key, boundary, n, channels, lead_q, lead_k
    )
    for dtype, forward in FORWARD.items():
        actual = value_and_gradients(
            tensor_product_long_conv, leaves, cotangent, paths, boundary, dtype, device
        )
        for name, a, e in zip(("u", "q", "k", "weight"), actual, expected, strict=True):
            assert a.dtype == dtype and a.device.type == device
            limit = forward if name == "u" else GRADIENT[dtype]
            assert relative_error([a.cpu().double()], [e]) <= limit, f"{name} in {dtype}"


@boundaries
@pytest.mark.parametrize("n", [1, 2, 3, 17, 64])
@pytest.mark.parametrize("device", DEVICES)
def test_equals_the_plain_loop(operands, paths, n, boundary, device):
    compare_with_naive(operands, paths, n, boundary, device=device)


@backends
@boundaries
@pytest.mark.parametrize("n", [97, 360])
@pytest.mark.parametrize("device", DEVICES)
def test_equals_the_plain_loop_at_larger_lengths(operands, small_paths, n, boundary, device):
    compare_with_naive(operands, small_paths, n, boundary, device=device)


@backends
@pytest.mark.parametrize(
    "boundary", [pytest.param(b, marks=[pytest.mark.slow] * (b != "same")) for b in BOUNDARIES]
)
@pytest.mark.parametrize("device", DEVICES)
def test_equals_the_plain_loop_at_a_large_prime_length(operands, boundary, device):
    paths = Paths("1o", "1o", "0e + 1e")
    compare_with_naive(operands, paths, 1009, boundary, channels=1, device=device)


@pytest.mark.slow
@boundaries
@pytest.mark.parametrize("n", [97, 360, 1009])
@pytest.mark.parametrize("device", DEVICES)
def test_equals_the_plain_loop_for_all_irreps_at_large_lengths(
    operands, paths, n, boundary, device
):
    compare_with_naive(operands, paths, n, boundary, channels=1, device=device)


@backends
@boundaries
def test_many_channels_and_lengths_beyond_one_block(operands, boundary):
    """Large enough for any kernel to work in several blocks."""
    paths = Paths("0e + 1o + 2e", "0e + 1o + 2e", "0e + 1o + 2e")
    compare_with_naive(operands, paths, 40, boundary, channels=20, lead_q=(10,), lead_k=(10,))


@backends
@boundaries
@pytest.mark.parametrize(
    ("lead_q", "lead_k"), [((3,), ()), ((), (2, 2)), ((2, 1), (3,)), ((0,), ()), ((2, 0, 1), (4,))]
)
def test_leading_dimensions_broadcast(operands, lead_q, lead_k, boundary):
    paths = Paths("0e + 1o", "1o", "0e + 1e + 1o")
    compare_with_naive(operands, paths, 6, boundary, lead_q=lead_q, lead_k=lead_k)


@backends
@boundaries
def test_gradcheck_and_gradgradcheck(operands, small_paths, boundary):
    for n in (1, 4, 7):
        leaves = operands(small_paths, n, channels=1)

        def function(q, k, weight):
            return tensor_product_long_conv(q, k, weight, small_paths, boundary=boundary)

        assert gradcheck(function, leaves, fast_mode=n == 7)
        assert gradgradcheck(function, leaves, fast_mode=True)


@backends
@boundaries
def test_gradgradcheck_entry_by_entry_with_leading_dimensions(operands, boundary):
    paths = Paths("0e + 1o", "1o", "1e + 0e")

    def function(q, k, weight):
        return tensor_product_long_conv(q, k, weight, paths, boundary=boundary)

    assert gradgradcheck(function, operands(paths, 3, lead=(2,), channels=1))


@backends
@boundaries
def test_third_derivatives(operands, boundary):
    """The form is trilinear: its mixed third derivative is the form itself, higher ones vanish."""
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1e")
    q, k, weight = operands(paths, 5)
    dq, dk, dw = (x.detach() for x in operands(paths, 5, seed=1))
    u = tensor_product_long_conv(q, k, weight, paths, boundary=boundary).sum()
    (by_q,) = torch.autograd.grad(u, q, create_graph=True)
    (by_qk,) = torch.autograd.grad((by_q * dq).sum(), k, create_graph=True)
    (by_qkw,) = torch.autograd.grad((by_qk * dk).sum(), weight, create_graph=True)
    expected = tensor_product_long_conv(dq, dk, dw, paths, boundary=boundary).sum()
    assert relative_error([(by_qkw * dw).sum()], [expected]) <= 1e-12


# --- laws, for any irreps and lengths

irreps = st.lists(
    st.sampled_from(["0e", "0o", "1o", "1e", "2e", "2o", "0x1o", "2x0e"]), min_size=1, max_size=3
).map(" + ".join)
cases = st.fixed_dictionaries(
    {
        "paths": st.builds(Paths, irreps, irreps, irreps),
        "n": st.integers(1, 23),
        "lead": st.lists(st.integers(1, 2), max_size=2).map(tuple),
        "channels": st.integers(1, 3),
        "seed": st.integers(0, 99),
    }
)
any_boundary = st.sampled_from(BOUNDARIES)


def draw(operands, case, seed_shift=0):
    case = dict(case, seed=case["seed"] + seed_shift)
    return [x.detach() for x in operands(case.pop("paths"), case.pop("n"), **case)]


@given(case=cases, boundary=any_boundary)
def test_any_case_equals_the_plain_loop(operands, case, boundary):
    q, k, weight = draw(operands, case)
    u = tensor_product_long_conv(q, k, weight, case["paths"], boundary=boundary)
    expected = naive.tensor_product_long_conv(q, k, weight, case["paths"], boundary=boundary)
    assert relative_error([u], [expected]) <= 1e-12


@given(case=cases, boundary=any_boundary)
def test_linear_in_each_argument(operands, case, boundary):
    first, second = draw(operands, case), draw(operands, case, seed_shift=100)

    def conv(*arguments):
        return tensor_product_long_conv(*arguments, case["paths"], boundary=boundary)

    for slot in range(3):
        arguments = list(first)
        arguments[slot] = 2 * first[slot] - 3 * second[slot]
        other = list(first)
        other[slot] = second[slot]
        parts = 2 * conv(*first), -3 * conv(*other)
        scale = max(1.0, *(part.abs().max().item() if part.numel() else 0.0 for part in parts))
        assert (conv(*arguments) - sum(parts)).abs().sum().item() <= 1e-10 * scale


@given(case=cases, shift=st.integers(-30, 30))
def test_circular_is_shift_equivariant(operands, case, shift):
    q, k, weight = draw(operands, case)
    u = tensor_product_long_conv(q, k, weight, case["paths"], boundary="circular")
    for shifts in ((shift, 0), (0, shift)):
        moved = tensor_product_long_conv(
            q.roll(shifts[0], -1), k.roll(shifts[1], -1), weight, case["paths"], boundary="circular"
        )
        assert relative_error([moved], [u.roll(shift, -1)]) <= 1e-12


@given(case=cases, boundary=any_boundary, inversion=st.booleans())
def test_equivariant(operands, case, boundary, inversion):
    q, k, weight = draw(operands, case)
    paths, g = case["paths"], random_element(case["seed"], inversion=inversion)

    def act(x, irreps):
        return g(x.transpose(-1, -2), irreps).transpose(-1, -2)

    u = tensor_product_long_conv(q, k, weight, paths, boundary=boundary)
    moved = tensor_product_long_conv(
        act(q, paths.irreps1), act(k, paths.irreps2), weight, paths, boundary=boundary
    )
    assert relative_error([moved], [act(u, paths.irreps_out)]) <= 1e-12


@given(n=st.integers(2, 40), seed=st.integers(0, 99), data=st.data())
def test_causal_does_not_see_the_future_and_the_others_do(operands, n, seed, data):
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
    q, k, weight = (x.detach() for x in operands(paths, n, seed=seed))
    first = data.draw(st.integers(1, n - 1), label="first changed token")

    def change_of_the_past(boundary, slot):
        changed = [q, k]
        changed[slot] = changed[slot].clone()
        changed[slot][..., first:] += 1
        before = tensor_product_long_conv(q, k, weight, paths, boundary=boundary)
        after = tensor_product_long_conv(*changed, weight, paths, boundary=boundary)
        return relative_error([after[..., :first]], [before[..., :first]])

    for slot in range(2):
        assert change_of_the_past("causal", slot) <= 1e-12
        assert change_of_the_past("circular", slot) > 1e-3
    if first <= (n - 1) // 2:
        assert change_of_the_past("same", 0) > 1e-3


@given(n=st.integers(1, 50), seed=st.integers(0, 99))
def test_scalars_convolve_as_in_scipy(operands, n, seed):
    paths = Paths("0e", "0e", "0e")
    q, k, _ = (x.detach() for x in operands(paths, n, channels=1, seed=seed))
    full = scipy.signal.convolve(q.flatten().numpy(), k.flatten().numpy(), method="direct")
    same = scipy.signal.convolve(q.flatten().numpy(), k.flatten().numpy(), "same", method="direct")
    circular = full[:n].copy()
    circular[: n - 1] += full[n:]
    for boundary, expected in {"causal": full[:n], "same": same, "circular": circular}.items():
        u = tensor_product_long_conv(q, k, q.new_ones(1, 1), paths, boundary=boundary)
        assert relative_error([u.flatten()], [torch.from_numpy(expected)]) <= 1e-12


def test_circular_is_the_default(operands):
    paths = Paths("0e + 1o", "0e + 1o", "0e + 1o")
    leaves = operands(paths, 9)
    circular = tensor_product_long_conv(*leaves, paths, boundary="circular")
    assert torch.equal(tensor_product_long_conv(*leaves, paths), circular)


def test_vectors_convolve_by_the_cross_product(operands):
    """Paper: sum over j of q_j x k_(i-j); the weight at which the path is the plain product."""
    paths = Paths("1o", "1o", "1e")
    q, k, _ = (x.detach() for x in operands(paths, 7, channels=1))
    expected = torch.zeros_like(q)
    for i in range(7):
        for j in range(7):
            expected[..., i] += torch.linalg.cross(q[..., j], k[..., (i - j) % 7])
    u = tensor_product_long_conv(q, k, torch.full((1, 1), 2**0.5, dtype=torch.float64), paths)
    assert relative_error([u], [expected]) <= 1e-12
