"""The local interaction against e3nn's modules, its symmetries, smoothness and errors."""

import contextlib
import copy
import pickle

import pytest
import torch
from e3nn import o3

from e3hyena.nn.interaction import Interaction
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.testing import assert_equivariant, perturb_parameters

IRREPS = [
    "8x0e",
    "4x0e + 4x1o",
    "3x1o + 2x0e + 0x2e + 1o + 4x2e",
    "2x0e + 2x0o + 3x1o + 1x1e + 2x2e + 2x2o",
    "2x0o + 1x3o",
]


def make(irreps="4x0e + 4x1o", cutoff=2.0, **options):
    return Interaction(irreps, cutoff=cutoff, radial_width=16, **options).double()


def draw(layer, num_atoms=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(num_atoms, 3, generator=generator, dtype=torch.float64)
    x = torch.randn(num_atoms, layer.irreps_in.dim, generator=generator, dtype=torch.float64)
    return x.to(dtype), pos.to(dtype), radius_graph(pos, layer.cutoff)


@contextlib.contextmanager
def _default_float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


class Reference(torch.nn.Module):
    """The same layer out of e3nn's modules, with the weights of the other one."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        irreps = layer.irreps_in.sort().irreps.simplify()
        irreps = o3.Irreps([(mul, ir) for mul, ir in irreps if mul])
        middle, instructions = [], []
        for i1, (mul, ir_in) in enumerate(irreps):
            for _, ir_out in irreps:
                for i2, (_, ir_edge) in enumerate(layer.irreps_edge):
                    if ir_out in ir_in * ir_edge:
                        instructions.append((i1, i2, len(middle), "uvu", True))
                        middle.append((mul, ir_out))
        self.up = o3.Linear(layer.irreps_in.simplify(), irreps).double()
        with _default_float64():  # e3nn rounds its coefficients to the default dtype for good
            self.product = o3.TensorProduct(
                irreps,
                layer.irreps_edge,
                o3.Irreps(middle),
                instructions,
                shared_weights=False,
                internal_weights=False,
            )
        self.down = o3.Linear(o3.Irreps(middle), layer.irreps_out).double()

    def forward(self, x, pos, edge_index):
        source, target = edge_index
        r = pos[source] - pos[target]
        s = (r.square().sum(1, keepdim=True) + self.layer.softening**2).sqrt()
        harmonics = o3.spherical_harmonics(self.layer.irreps_edge, r / s, False, "component")
        hidden = torch.nn.functional.silu(self.layer.basis(s[:, 0]) @ self.layer.radial_in)
        weights = hidden @ self.layer.radial_out
        y = self.up(x, _flat(self.up, self.layer.up.weight))
        messages = self.product(y[source], harmonics, weights)
        total = x.new_zeros(len(x), messages.shape[1]).index_add(0, target, messages)
        total = total / self.layer.avg_num_neighbors**0.5
        return self.down(total, _flat(self.down, self.layer.down.weight))


def _flat(linear, weight):
    """The weights of our Linear in the order of an o3.Linear's instructions."""
    read, parts = {}, []
    offsets_in, offsets_out = _offsets(linear.irreps_in), _offsets(linear.irreps_out)
    for ins in linear.instructions:
        (mul_in, ir), (mul_out, _) = linear.irreps_in[ins.i_in], linear.irreps_out[ins.i_out]
        a, b = offsets_in[ins.i_in], offsets_out[ins.i_out]
        parts.append(weight[str(ir)][a : a + mul_in, b : b + mul_out].reshape(-1))
        read[str(ir)] = True
    assert set(read) == set(weight)
    return torch.cat(parts)


def _offsets(irreps):
    """How many copies of the same kind come before every entry."""
    return [
        sum(mul for mul, ir in list(irreps)[:i] if ir == irreps[i].ir) for i in range(len(irreps))
    ]


@pytest.mark.parametrize("irreps_edge", [None, "0e + 1o + 2e", "2e + 0e"])
@pytest.mark.parametrize("irreps", IRREPS)
def test_equals_e3nn(irreps, irreps_edge):
    """Output, and gradients with respect to features, positions and radial weights."""
    layer = make(irreps, irreps_edge=irreps_edge)
    reference = Reference(layer)
    x, pos, edge_index = draw(layer)
    assert edge_index.shape[1] > 10
    inputs = [x.requires_grad_(), pos.requires_grad_(), layer.radial_in, layer.radial_out]
    inputs += [w for linear in (layer.up, layer.down) for w in linear.weight.values()]
    results = []
    for module in (layer, reference):
        y = module(x, pos, edge_index)
        grads = torch.autograd.grad(y.sin().sum(), inputs, allow_unused=True)
        results.append([y, *grads])
    for value, expected in zip(*results, strict=True):
        if expected is None:  # no path into that kind of irrep
            assert value is None
            continue
        scale = max(expected.abs().max().item(), 1e-3)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12 * scale)
    assert results[0][0].abs().max() > 1e-3


@pytest.mark.parametrize("irreps", [i for i in IRREPS if i != "8x0e"])
@pytest.mark.parametrize("perturbed", [False, True])
def test_equivariant(irreps, perturbed):
    layer = Interaction(irreps, cutoff=2.0)
    if perturbed:
        perturb_parameters(layer)
    pos = torch.randn(20, 3, dtype=torch.float64)
    edge_index = radius_graph(pos, 2.0)
    assert_equivariant(
        layer,
        [layer.irreps_in, "cartesian_points", None],
        layer.irreps_out,
        args_in=[None, pos, edge_index],
        translation=True,
    )


def test_invariant_to_translation_and_rotation_of_scalars():
    layer = make("8x0e")
    x, pos, edge_index = draw(layer)
    moved = pos @ o3.rand_matrix(dtype=torch.float64).T + 3
    torch.testing.assert_close(layer(x, moved, edge_index), layer(x, pos, edge_index))


def test_order_of_edges_and_of_atoms():
    layer = make()
    x, pos, edge_index = draw(layer)
    y = layer(x, pos, edge_index)
    shuffled = edge_index[:, torch.randperm(edge_index.shape[1])]
    torch.testing.assert_close(layer(x, pos, shuffled), y, rtol=0, atol=1e-13)
    order = torch.randperm(len(x))
    edge_index = radius_graph(pos[order], layer.cutoff)
    torch.testing.assert_close(
        layer(x[order], pos[order], edge_index), y[order], rtol=0, atol=1e-13
    )


def test_graphs_do_not_see_each_other():
    """Alone, in a batch, and beside a graph of NaN."""
    layer = make()
    x, pos, _ = draw(layer, num_atoms=12)
    batch = torch.arange(12) // 5
    together = layer(x, pos, radius_graph(pos, 2.0, batch))
    for graph in range(3):
        mine = batch == graph
        alone = layer(x[mine], pos[mine], radius_graph(pos[mine], 2.0))
        torch.testing.assert_close(together[mine], alone, rtol=0, atol=1e-13)
    x[batch == 1] = torch.nan
    poisoned = layer(x, pos, radius_graph(pos, 2.0, batch))
    assert poisoned[batch == 1].isnan().any()
    torch.testing.assert_close(poisoned[batch != 1], together[batch != 1], rtol=0, atol=1e-13)


def test_local():
    """An atom feels its neighbours, and nobody beyond the cutoff."""
    layer = make()
    x = torch.randn(3, layer.irreps_in.dim, dtype=torch.float64)
    pos = torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [3.0, 0, 0]], dtype=torch.float64)
    y = layer(x, pos, radius_graph(pos, 2.0))
    x[2] += 1
    changed = layer(x, pos, radius_graph(pos, 2.0))
    assert torch.equal(changed[0], y[0])
    assert (changed[1] - y[1]).abs().max() > 1e-3


def test_vanishes_smoothly_at_the_cutoff():
    layer = make()
    x, _, _ = draw(layer, num_atoms=2)
    edge_index = torch.tensor([[0, 1], [1, 0]])
    sizes = []
    for gap in (1e-2, 1e-4, 0.0, -1e-4):
        pos = torch.tensor([[0.0, 0, 0], [0, 0, 2 - gap]], dtype=torch.float64, requires_grad=True)
        y = layer(x, pos, edge_index)
        (force,) = torch.autograd.grad(y.sum(), pos, create_graph=True)
        (second,) = torch.autograd.grad(force.sum(), pos)
        sizes.append([v.abs().max().item() for v in (y, force, second)])
    near, nearer, at, beyond = sizes
    assert near[0] > 0
    assert nearer[0] < 1e-5 * near[0]  # as the third power of the gap
    assert nearer[1] < 1e-3 * near[1]
    assert max(at) < 1e-12
    assert max(beyond) == 0


@pytest.mark.parametrize("coincident", [False, True])
def test_gradients_of_first_and_second_order(coincident):
    layer = make("1x0e + 1x1o", num_basis=2)
    x, pos, _ = draw(layer, num_atoms=3)
    if coincident:
        pos[1] = pos[0]
    edge_index = torch.tensor([[1, 2, 0, 0, 1], [0, 0, 1, 2, 2]])
    parameters = dict(layer.named_parameters())

    def call(x, pos, *values):
        values = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, values, (x, pos, edge_index))

    inputs = [v.detach().requires_grad_() for v in (x, pos, *parameters.values())]
    assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coincident_atoms_have_moderate_gradients(dtype):
    layer = make("8x0e + 8x1o + 8x2e").to(dtype)
    x = torch.randn(4, layer.irreps_in.dim, dtype=dtype)
    pos = torch.zeros(4, 3, dtype=dtype, requires_grad=True)
    y = layer(x, pos, radius_graph(pos, 2.0))
    (force,) = torch.autograd.grad(y.square().sum(), pos, create_graph=True)
    force.square().sum().backward()
    assert 0 < force.abs().max() < 1e4 * y.abs().max() ** 2
    assert torch.isfinite(pos.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@pytest.mark.parametrize("irreps", ["", "0x3e", "4x0e + 0x1o", *IRREPS])
@pytest.mark.parametrize("num_atoms", [0, 1, 5])
def test_without_edges_the_output_is_zero(irreps, num_atoms):
    layer = make(irreps)
    x = torch.randn(num_atoms, layer.irreps_in.dim, dtype=torch.float64, requires_grad=True)
    pos = torch.randn(num_atoms, 3, dtype=torch.float64)
    y = layer(x, pos, torch.zeros(2, 0, dtype=torch.long))
    assert torch.equal(y, torch.zeros_like(x))
    if x.numel():
        y.sum().backward()
        assert torch.equal(x.grad, torch.zeros_like(x))


def test_empty_irreps_with_edges():
    layer = make("")
    x, pos, edge_index = draw(layer)
    y = layer(x, pos, edge_index)
    assert edge_index.shape[1] > 0
    assert y.shape == (7, 0)


def test_unreachable_irreps_are_zero():
    layer = make("4x0e + 2x0o")  # 0o would need a pseudoscalar or an l=0 odd edge from 0e
    x, pos, edge_index = draw(layer)
    x[:, 4:] = 0
    y = layer(x, pos, edge_index)
    assert y[:, :4].abs().max() > 0
    assert torch.equal(y[:, 4:], torch.zeros_like(y[:, 4:]))


def test_unit_variance_in_unit_variance_out():
    generator = torch.Generator().manual_seed(4)
    pos = 12 * torch.rand(700, 3, generator=generator)  # about 0.4 atoms per cubic unit
    edge_index = radius_graph(pos, 2.0)
    layer = Interaction(
        "64x0e + 64x1o + 64x2e", cutoff=2.0, avg_num_neighbors=edge_index.shape[1] / 700
    )
    x = torch.randn(700, layer.irreps_in.dim, generator=generator)
    with torch.no_grad():
        y = layer(x, pos, edge_index)
    for part in (y[:, :64], y[:, 64:256], y[:, 256:]):
        assert 0.3 < part.square().mean() < 2


def test_default_number_of_neighbours_is_that_of_small_molecules():
    assert round(Interaction("0e", cutoff=3.0).avg_num_neighbors, 1) == 7.9
    assert round(Interaction("0e", cutoff=5.0).avg_num_neighbors, 1) == 16.8
    assert Interaction("0e", cutoff=5.0, avg_num_neighbors=50).avg_num_neighbors == 50


def test_state_dict_holds_parameters_only():
    layer = Interaction("4x0e + 4x1o + 4x2e", cutoff=2.0)
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}
    other = Interaction("4x0e + 4x1o + 4x2e", cutoff=2.0)
    other.load_state_dict(layer.state_dict())
    x, pos, edge_index = draw(layer, dtype=torch.float32)
    y = layer(x, pos, edge_index)
    for twin in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, pos, edge_index), y)


def test_dtypes():
    """The dtype of x comes out, whatever autocast, the default dtype or the positions say."""
    layer = Interaction("4x0e + 4x1o", cutoff=2.0)
    x, pos, edge_index = draw(layer, dtype=torch.float32)
    y = layer(x, pos, edge_index)
    assert y.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x, pos, edge_index), y)
    torch.testing.assert_close(layer(x, pos.double(), edge_index), y)
    assert layer(x.bfloat16(), pos, edge_index).dtype == torch.bfloat16
    with _default_float64():
        assert torch.equal(layer(x, pos, edge_index), y)
    assert layer.double()(x.double(), pos.double(), edge_index).dtype == torch.float64


def test_moving_to_float64_loses_nothing():
    """Coupling coefficients are exact in float64, also in a layer that was float32."""
    layer = Interaction("4x0e + 4x1o + 4x2e", cutoff=2.0)
    x, pos, edge_index = draw(layer, dtype=torch.float32)
    layer(x, pos, edge_index)
    inputs = x.double(), pos.double(), edge_index
    y, expected = layer.double()(*inputs), Reference(layer)(*inputs)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12 * y.abs().max().item())


def test_buffers_follow_the_module():
    layer = Interaction("4x0e + 4x1o + 4x2e", cutoff=2.0)
    exact = [buffer.clone() for buffer in layer.double().buffers()]
    assert exact
    for dtype, device in [(torch.float32, "cpu"), (torch.float64, "cpu"), (torch.float32, "meta")]:
        layer.to(dtype=dtype, device=device)
        assert {(b.dtype, b.device.type) for b in layer.buffers()} == {(dtype, device)}
        if dtype == torch.float64:
            assert all(map(torch.equal, layer.buffers(), exact))


def test_parameters_of_another_dtype():
    x, pos, edge_index = draw(make())
    with pytest.raises(TypeError, match=r"torch\.float32"):
        make().float()(x, pos, edge_index)


def test_compiles():
    """With one break of the graph, at e3nn's harmonics."""
    torch.compiler.reset()
    layer = make()
    compiled = torch.compile(layer, backend="aot_eager", dynamic=True)
    with torch.no_grad():
        for num_atoms in (7, 9):
            inputs = draw(layer, num_atoms)
            torch.testing.assert_close(compiled(*inputs), layer(*inputs))
    torch.compiler.reset()


def test_int32_edges():
    layer = make()
    x, pos, edge_index = draw(layer)
    assert torch.equal(layer(x, pos, edge_index.int()), layer(x, pos, edge_index))


def test_reset_parameters():
    layer = make()
    before = {name: p.clone() for name, p in layer.named_parameters()}
    layer.reset_parameters()
    for name, parameter in layer.named_parameters():
        assert not torch.equal(parameter, before[name])


def test_repr():
    text = repr(Interaction("4x0e + 4x1o", cutoff=2.0))
    assert "4x0e+4x1o" in text
    assert "cutoff=2.0" in text


@pytest.mark.parametrize("irreps_edge", ["2x0e", "1e", "0e + 0e", "0o", "x"])
def test_edges_must_be_harmonics(irreps_edge):
    with pytest.raises(ValueError, match="irreps_edge"):
        Interaction("0e", cutoff=1.0, irreps_edge=irreps_edge)


@pytest.mark.parametrize(
    "options",
    [{"cutoff": 0.0}, {"avg_num_neighbors": 0.0}, {"radial_width": 0}, {"num_basis": 0}],
    ids=str,
)
def test_numbers_must_be_positive(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}.* must be"):
        Interaction("0e", **{"cutoff": 1.0, **options})


@pytest.mark.parametrize(
    ("x", "pos", "edges", "error"),
    [
        ((5, 15), (5, 3), (2, 4), "irreps_in"),
        ((5, 16), (4, 3), (2, 4), "num_atoms, 3"),
        ((5, 16), (5, 2), (2, 4), "num_atoms, 3"),
        ((1, 5, 16), (5, 3), (2, 4), "num_atoms"),
        ((5, 16), (5, 3), (4, 2), "2, num_edges"),
        ((5, 16), (5, 3), (4,), "2, num_edges"),
    ],
)
def test_shapes(x, pos, edges, error):
    layer = make()
    with pytest.raises(ValueError, match=error):
        layer(torch.zeros(x), torch.zeros(pos), torch.zeros(edges, dtype=torch.long))


def test_edges_must_be_integers():
    with pytest.raises(TypeError, match=r"torch\.float32"):
        make()(torch.zeros(2, 16).double(), torch.zeros(2, 3), torch.zeros(2, 1))


def test_without_gradients_edges_come_in_chunks(monkeypatch):
    layer = make()
    x, pos, edges = draw(layer)
    whole = layer(x, pos, edges)
    monkeypatch.setattr("e3hyena.nn.interaction._CHUNK", 5)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, pos, edges), whole)
        batched = torch.func.vmap(layer, in_dims=(0, None, None))(torch.stack([x, x]), pos, edges)
    torch.testing.assert_close(batched, torch.stack([whole, whole]))
