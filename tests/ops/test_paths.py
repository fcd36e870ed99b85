"""Which paths there are, and their coefficients, against e3nn and known products."""

import itertools

import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.ops import Paths, tensor_product
from e3hyena.ops.paths import paths_from_key
from e3hyena.testing import random_element

some_irreps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from([-1, 1])), max_size=4
).map(lambda entries: o3.Irreps([(mul, (l, p)) for mul, l, p in entries]))


def entries(irreps):
    """One entry per copy: the irrep, or None for an entry of multiplicity zero."""
    out = []
    for mul, ir in irreps:
        out += [ir] * mul if mul else [None]
    return out


def allowed(ir1, ir2, ir3):
    if None in (ir1, ir2, ir3):
        return False
    return abs(ir1.l - ir2.l) <= ir3.l <= ir1.l + ir2.l and ir3.p == ir1.p * ir2.p


@given(some_irreps, some_irreps, some_irreps)
def test_instructions_are_all_that_triangle_and_parity_allow(irreps1, irreps2, irreps_out):
    paths = Paths(irreps1, irreps2, irreps_out)
    copies = [entries(irreps) for irreps in (irreps1, irreps2, irreps_out)]
    expected = {
        indices
        for indices in itertools.product(*(range(len(c)) for c in copies))
        if allowed(*(c[i] for c, i in zip(copies, indices, strict=True)))
    }
    assert set(paths.instructions) == expected
    assert paths.num_paths == len(paths.instructions) == len(expected)
    assert paths.dims == (irreps1.dim, irreps2.dim, irreps_out.dim)


def test_indices_point_into_the_irreps():
    paths = Paths("2x0e + 0x3e + 1o", "1o", "1o + 0e")
    assert paths.instructions == [(0, 0, 0), (1, 0, 0), (3, 0, 1)]
    for i1, i2, i3 in paths.instructions:
        assert allowed(paths.irreps1[i1].ir, paths.irreps2[i2].ir, paths.irreps_out[i3].ir)


@pytest.mark.parametrize(
    ("irreps", "num_paths"),
    [
        (("1o", "1o", "1e"), 1),
        (("1o", "1o", "1o"), 0),
        (("0e + 1o", "0e + 1o", "0e + 1o"), 4),
        (("0e + 1o", "0e + 1o", "0e + 1o + 1e"), 5),
        (("2x1o", "2x1o", "2x0e"), 8),
        (("", "1o", "1o"), 0),
        (("0x3e", "0x3e", "0x3e"), 0),
        (("4e", "4e", "9e"), 0),
    ],
)
def test_number_of_paths(irreps, num_paths):
    assert Paths(*irreps).num_paths == num_paths


@pytest.mark.parametrize(
    "irreps",
    [
        ("0e + 1o", "0e + 1o", "0e + 1o + 1e"),
        ("2x1o + 0x3e + 0e", "1e + 2x1o", "2e + 0o + 1o + 0e"),
        ("4e", "3o + 1o", "2o + 5o"),
    ],
)
def test_coefficients_are_normalised_wigner_symbols(irreps):
    paths = Paths(*irreps)
    dense = paths.coefficients(torch.float64)
    assert dense.shape == (paths.num_paths, *paths.dims)
    per_output = [sum(i3 == j for *_, j in paths.instructions) for i3 in range(99)]
    for p, (i1, i2, i3) in enumerate(paths.instructions):
        irs = paths.irreps1[i1].ir, paths.irreps2[i2].ir, paths.irreps_out[i3].ir
        slices = paths.irreps1.slices()[i1], paths.irreps2.slices()[i2]
        slices += (paths.irreps_out.slices()[i3],)
        wigner = o3.wigner_3j(*(ir.l for ir in irs), dtype=torch.float64)
        expected = torch.zeros(paths.dims, dtype=torch.float64)
        expected[slices] = wigner * ((2 * irs[2].l + 1) / per_output[i3]) ** 0.5
        assert torch.allclose(dense[p], expected, rtol=0, atol=1e-14)


def test_nonzeros_are_the_dense_coefficients():
    paths = Paths("0e + 1o + 2e", "2e + 1o", "2e + 1o + 3o")
    dense = torch.zeros(paths.num_paths, *paths.dims, dtype=torch.float64)
    for p, a, b, c, value in paths.nonzeros():
        assert value != 0
        assert dense[p, a, b, c] == 0, "an entry is listed twice"
        dense[p, a, b, c] = value
    assert torch.equal(dense, paths.coefficients(torch.float64))


def test_products_one_knows():
    """Scalars multiply, vectors give the dot and the cross product."""
    x, y = torch.randn(2, 3, dtype=torch.float64).unbind()

    def product(*irreps):
        coefficients = Paths(*irreps).coefficients(torch.float64)[0]
        n1, n2, _ = coefficients.shape
        return torch.einsum("a,b,abc->c", x[:n1], y[:n2], coefficients)

    def close(actual, expected):
        return torch.allclose(actual, expected, rtol=1e-13, atol=0)

    assert close(product("0e", "0e", "0e"), x[:1] * y[:1])
    assert close(product("0e", "1o", "1o"), x[0] * y)
    assert close(product("1o", "1o", "0e"), (x @ y)[None] / 3**0.5)
    assert close(product("1o", "1o", "1e"), torch.linalg.cross(x, y) / 2**0.5)


@given(some_irreps, some_irreps, some_irreps, st.booleans(), st.integers(0, 9))
def test_coefficients_are_invariant_tensors(irreps1, irreps2, irreps_out, inversion, seed):
    g, paths = random_element(seed, inversion=inversion), Paths(irreps1, irreps2, irreps_out)
    matrices = [g(torch.eye(ir.dim, dtype=torch.float64), ir) for ir in (irreps1, irreps2)]
    matrices.append(g(torch.eye(irreps_out.dim, dtype=torch.float64), irreps_out))
    dense = paths.coefficients(torch.float64)
    moved = torch.einsum("pabc,ax,by,cz->pxyz", dense, *matrices)
    assert torch.allclose(moved, dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "irreps",
    [
        ("0e + 1o", "0e + 1o", "0e + 1o + 1e"),
        ("0e + 1o + 2e", "0e + 1o + 2e", "0e + 1o + 2e"),
        ("4e + 2x1o", "3o + 2e", "2e + 2x1o + 0o"),
    ],
)
def test_unit_variance(irreps):
    """<y^2> = 1 per output irrep, for unit-variance input and unit-normal weights."""
    paths = Paths(*irreps)
    generator = torch.Generator().manual_seed(0)
    d1, d2, _ = paths.dims
    x1, x2 = (torch.randn(4000, d, 4, generator=generator) for d in (d1, d2))
    weight = torch.randn(paths.num_paths, 4000, generator=generator)
    y = tensor_product(x1, x2, weight, paths)
    ends = {i3 for *_, i3 in paths.instructions}
    for i3, part in enumerate(paths.irreps_out.slices()):
        if i3 in ends:
            assert y[:, part].square().mean().item() == pytest.approx(1, rel=0.15)
    assert len(ends) >= 3


def test_key_names_the_paths():
    paths = Paths("2x1o + 0x3e + 0e", "1e", "1o + 0x2e + 0o")
    again = paths_from_key(paths.key)
    assert again.instructions == paths.instructions
    assert again.dims == paths.dims
    assert again.key == paths.key == Paths("1o + 1o + 0x3e + 0e", "1e", "1o + 0x2e + 0o").key
    assert Paths("1o", "1e", "1o").key != Paths("1o", "1o", "1o").key
    assert paths_from_key(Paths("", "", "").key).num_paths == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype(dtype):
    paths = Paths("1o", "1o", "1e")
    assert paths.coefficients(dtype).dtype == dtype
    assert paths.coefficients().dtype == torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert paths.coefficients().dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_float64_coefficients_are_no_rounded_float32():
    dense = Paths("3o", "2e", "1o").coefficients(torch.float64)
    assert not torch.equal(dense, dense.float().double())


@pytest.mark.parametrize(
    ("context", "irreps"),
    [
        (torch.inference_mode, ("4o", "3e", "2o")),
        (lambda: torch.device("meta"), ("4o", "3e", "1o")),
    ],
    ids=["inference mode", "meta device"],
)
def test_first_use_in_a_special_context_leaves_nothing_behind(context, irreps):
    """Coefficients are kept between calls: what is kept must serve training on the CPU too."""
    with context():
        kept = Paths(*irreps).coefficients(torch.float64, "cpu")
    assert kept.device.type == "cpu"
    assert not kept.is_inference()
    assert kept.any()


@pytest.mark.parametrize("name", ["irreps1", "irreps2", "irreps_out"])
def test_irreps_that_do_not_parse(name):
    arguments = {"irreps1": "1o", "irreps2": "1o", "irreps_out": "0e", name: "3 apples"}
    with pytest.raises(ValueError, match=f"{name}='3 apples'"):
        Paths(**arguments)


def test_repr_shows_irreps_and_count():
    text = repr(Paths("0e + 1o", "1o", "1e"))
    assert "1x0e+1x1o" in text
    assert "1 paths" in text
