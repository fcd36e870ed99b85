"""The long convolution in parts: graphs side by side, few channels at a time, direct sums."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.ops import Paths, tensor_product_long_conv
from e3hyena.ops.backends import native, use_backend
from e3hyena.ops.backends.eager import convolution
from e3hyena.ops.backends.eager.convolution import from_spectrum, to_spectrum
from e3hyena.ops.backends.native import convolution as in_c
from e3hyena.ops.backends.native import mkl
from e3hyena.ops.long_conv import ragged_long_conv
from e3hyena.ops.transforms import BOUNDARIES, TransformBatch, transform_length
from e3hyena.testing.measure import relative_error

PATHS = Paths("0e + 1o", "0e + 1o", "0e + 1o + 1e")
BACKENDS = ["eager", pytest.param("native", marks=pytest.mark.skipif(
    not native.available(), reason="no C compiler"))]  # fmt: skip
LENGTHS = (9, 0, 17, 16, 17, 1, 40, 2, 19)


def value_and_gradients(leaves, lengths, boundary="circular"):
    u = ragged_long_conv(*leaves, PATHS, boundary=boundary, lengths=lengths)
    cotangent = torch.linspace(-1, 1, u.numel(), dtype=u.dtype).view(u.shape)
    return [u.detach(), *torch.autograd.grad(u, leaves, cotangent)]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_graphs_side_by_side_are_convolved_alone(operands, backend, boundary):
    q, k, weight = operands(PATHS, sum(LENGTHS), channels=3)
    with use_backend(backend):
        actual = value_and_gradients([q, k, weight], LENGTHS, boundary)
        parts = zip(q.split(LENGTHS, -1), k.split(LENGTHS, -1), strict=True)
        u = torch.cat(
            [tensor_product_long_conv(a, b, weight, PATHS, boundary=boundary) for a, b in parts], -1
        )
    cotangent = torch.linspace(-1, 1, u.numel(), dtype=u.dtype).view(u.shape)
    expected = [u.detach(), *torch.autograd.grad(u, [q, k, weight], cotangent)]
    assert relative_error(actual, expected) <= 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_stays_in_its_graph(operands, backend):
    q, k, weight = (x.detach() for x in operands(PATHS, 60))
    q[..., 17:34] = float("nan")
    with use_backend(backend):
        u = ragged_long_conv(q, k, weight, PATHS, boundary="circular", lengths=(17, 17, 17, 9))
    bad = u.isnan().flatten(0, 1)
    assert bad[:, 17:34].all() and not bad[:, :17].any() and not bad[:, 34:].any()


@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_a_graph_does_not_depend_on_the_others(operands, lengths, seed):
    q, k, weight = (x.detach() for x in operands(PATHS, sum(lengths), seed=seed))
    u = ragged_long_conv(q, k, weight, PATHS, boundary="circular", lengths=lengths)
    n = lengths[-1]
    alone = tensor_product_long_conv(
        q[..., sum(lengths) - n :], k[..., sum(lengths) - n :], weight, PATHS
    )
    assert relative_error([u[..., sum(lengths) - n :]], [alone]) <= 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_byte_budget_changes_nothing(monkeypatch, operands, backend):
    leaves = operands(PATHS, sum(LENGTHS), channels=5)
    results = []
    for budget in (1, 5000, 2**30):
        monkeypatch.setitem(convolution.BUDGET_BYTES, "cpu", budget)
        monkeypatch.setattr(in_c, "BUDGET_BYTES", budget)
        with use_backend(backend):
            results.append(value_and_gradients(leaves, LENGTHS))
    assert relative_error(results[0], results[2]) <= 1e-14
    assert relative_error(results[1], results[2]) <= 1e-14


@pytest.mark.skipif(not native.available(), reason="no C compiler")
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_without_the_library_of_transforms(monkeypatch, operands, boundary):
    leaves = operands(PATHS, sum(LENGTHS), channels=3)
    with use_backend("native"):
        expected = value_and_gradients(leaves, LENGTHS, boundary)
        monkeypatch.setattr(mkl, "available", lambda: False)
        assert relative_error(value_and_gradients(leaves, LENGTHS, boundary), expected) <= 1e-12


@pytest.mark.skipif(not native.available(), reason="no C compiler")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_no_bit(operands, threads):
    leaves = [x.detach().float().requires_grad_() for x in operands(PATHS, 700, channels=5)]
    lengths = (300, 100, 100, 100, 100)
    with use_backend("native"):
        expected = value_and_gradients(leaves, lengths)
        torch.set_num_threads(threads)
        try:
            actual = value_and_gradients(leaves, lengths)
        finally:
            torch.set_num_threads(1)
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


@pytest.mark.skipif(not native.available(), reason="no C compiler")
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_direct_sums_equal_transforms(monkeypatch, operands, dtype, boundary):
    leaves = [x.detach().to(dtype).requires_grad_() for x in operands(PATHS, sum(LENGTHS))]
    results = []
    for length in (0, 100):
        monkeypatch.setattr(in_c, "DIRECT_LENGTH", length)
        with use_backend("native"):
            results.append(value_and_gradients(leaves, LENGTHS, boundary))
    assert relative_error(*results) <= {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]


def test_few_tokens_are_summed_directly_and_many_are_not():
    assert in_c.sums_directly(PATHS, 2, 17, 36, 16)
    assert not in_c.sums_directly(PATHS, 2, 360, 360, 16)


def test_lengths_must_add_up(operands):
    q, k, weight = (x.detach() for x in operands(PATHS, 7))
    with pytest.raises(ValueError, match=r"add up to 6.*\(2, 4, 7\)"):
        ragged_long_conv(q, k, weight, PATHS, boundary="circular", lengths=(3, 3))
    with pytest.raises(ValueError, match="without leading dimensions"):
        ragged_long_conv(q[None], k, weight, PATHS, boundary="circular", lengths=(3, 4))


layouts = st.sampled_from(["one", "equal", "different"])


def batch_of(n, boundary, layout):
    """Graphs of n tokens, or of n and fewer, that share the transform length of n."""
    length = transform_length(n, boundary)
    if layout == "one":
        return TransformBatch(length, (0,), (n,)), n
    if layout == "equal":
        return TransformBatch(length, (0, n), (n, n)), 2 * n
    less = max(m for m in range(1, n + 1) if m < n or n == 1)
    return TransformBatch(2 * length, (0, n, n + 1 + less), (n, less, less)), n + 1 + 2 * less


@given(
    n=st.integers(1, 60),
    slot=st.integers(0, 2),
    boundary=st.sampled_from(BOUNDARIES),
    layout=layouts,
    seed=st.integers(0, 99),
)
def test_the_way_back_is_the_adjoint_of_the_way_there(n, slot, boundary, layout, seed):
    """<E^T s, x> = <s, E x> for all signals s of P points."""
    generator = torch.Generator().manual_seed(seed)
    batch, tokens = batch_of(n, boundary, layout)
    graphs, length = len(batch.sizes), batch.length
    s = torch.randn(3, graphs, length, generator=generator, dtype=torch.float64)
    x = torch.randn(3, tokens, generator=generator, dtype=torch.float64)
    back = torch.zeros_like(x)
    from_spectrum(torch.fft.rfft(s), slot, boundary, batch, back)
    there = torch.fft.irfft(to_spectrum(x, slot, boundary, batch), n=length)
    assert there.shape == s.shape
    assert (back * x).sum().item() == pytest.approx((there * s).sum().item(), abs=1e-10)


@given(
    n=st.integers(1, 60),
    slot=st.integers(0, 1),
    boundary=st.sampled_from(BOUNDARIES),
    layout=layouts,
)
def test_operands_return_unchanged(n, slot, boundary, layout):
    batch, tokens = batch_of(n, boundary, layout)
    x = torch.randn(2, tokens, dtype=torch.float64)
    spectrum = to_spectrum(x, slot, boundary, batch)
    assert spectrum.shape == (2, len(batch.sizes), batch.length // 2 + 1)
    back = x.clone()
    from_spectrum(spectrum, slot, boundary, batch, back)
    assert relative_error([back], [x]) <= 1e-13
