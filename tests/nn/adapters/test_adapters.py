"""Every adapter is symmetric, keeps graphs apart, and has the arguments of what it replaces."""

import inspect

import pytest
import torch
from e3nn import o3
from e3nn.math import soft_one_hot_linspace
from torch import nn

from e3hyena.nn.adapters import E3toolsTransformerBlock, EquiformerAttention, GuideTransformer
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    train_steps,
)

IRREPS_IN, IRREPS_OUT, SH = "4x0e + 2x1o", "4x0e + 4x1o + 2x2e", "0e + 1o + 2e"
RADIUS, SCALARS = 2.0, 6
BATCH = torch.repeat_interleave(torch.arange(3), torch.tensor([6, 1, 9]))


def guide(**options) -> nn.Module:
    return GuideTransformer(IRREPS_IN, IRREPS_OUT, **options)


def e3tools(**options) -> nn.Module:
    return E3toolsTransformerBlock(IRREPS_IN, IRREPS_OUT, SH, SCALARS, **options)


def equiformer(**options) -> nn.Module:
    return EquiformerAttention(IRREPS_IN, SH, IRREPS_OUT, num_edge_scalars=SCALARS, **options)


BUILD = {"guide": guide, "e3tools": e3tools, "equiformer": equiformer}


class OnPoints(nn.Module):
    """An adapter with the edges that a model would compute."""

    irreps_in, irreps_out = (IRREPS_IN, "cartesian_points"), (IRREPS_OUT,)

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x, pos, batch=None):
        if isinstance(self.layer, GuideTransformer):
            return self.layer(x, pos, batch)
        index = radius_graph(pos.detach().nan_to_num(), RADIUS, batch)
        vector = pos[index[0]] - pos[index[1]]
        length = vector.norm(dim=1)
        scalars = soft_one_hot_linspace(length, 0, RADIUS, SCALARS, "smooth_finite", True)
        harmonics = o3.spherical_harmonics(SH, vector, True, normalization="component")
        if isinstance(self.layer, E3toolsTransformerBlock):
            return self.layer(x, index, scalars, harmonics, batch)
        return self.layer(
            node_input=x,
            node_attr=None,
            edge_src=index[0],
            edge_dst=index[1],
            edge_attr=harmonics,
            edge_scalars=scalars,
            batch=batch,
        )


@pytest.mark.parametrize("name", BUILD)
class TestEvery:
    def test_symmetry_also_after_training(self, name: str) -> None:
        module = OnPoints(BUILD[name]())
        kwargs = {"batch": BATCH}
        assert_equivariant(module, kwargs=kwargs, translation=True, seeds=2)
        assert_permutation_equivariant(module, kwargs=kwargs, seeds=2)
        perturb_parameters(module)
        inputs = [o3.Irreps(IRREPS_IN).randn(16, -1), torch.rand(16, 3)]
        losses = train_steps(module, inputs, kwargs=kwargs)
        assert losses[-1] < losses[0]
        assert_equivariant(module, kwargs=kwargs, translation=True, seeds=2)
        assert_batch_independent(module, sizes=(6, 0, 1, 9), seeds=1)

    def test_geometry_is_heard_from_afar(self, name: str) -> None:
        """A node moves that has no edge to the first one: the first one's result changes."""
        module = OnPoints(BUILD[name]())
        x = o3.Irreps(IRREPS_IN).randn(6, -1)
        pos = torch.rand(6, 3) + torch.tensor([[0.0, 0, 0]] * 3 + [[9.0, 0, 0]] * 3)
        moved = pos.clone()
        moved[5, 1] += 0.5
        assert (module(x, moved) - module(x, pos))[0].abs().max() > 1e-4
        other = torch.tensor([0, 0, 0, 1, 1, 1])
        torch.testing.assert_close(module(x, moved, other)[:3], module(x, pos, other)[:3])

    def test_options_reach_the_operator(self, name: str) -> None:
        options = {"mixer": "filter", "irreps_hidden": "3x0e + 3x1o", "short_conv": 3}
        with pytest.warns(UserWarning, match=r"2e in .* always zero.*3x0e\+3x1o\+3x2e'"):
            layer = BUILD[name](**options)
        operator = layer.block.operator if name == "e3tools" else layer.operator
        assert (operator.mixer_name, operator.short_conv.kernel_size) == ("filter", 3)
        assert operator.irreps_hidden == o3.Irreps("3x0e + 3x1o")
        with pytest.raises(TypeError, match="head"):
            BUILD[name](heads=4)

    def test_every_kind_of_the_result_is_reached(self, name: str) -> None:
        """Also one that the input lacks."""
        y = OnPoints(BUILD[name]())(o3.Irreps(IRREPS_IN).randn(16, -1), torch.rand(16, 3))
        assert all(y[:, part].abs().max() > 1e-3 for part in o3.Irreps(IRREPS_OUT).slices())

    def test_dtype_and_autocast(self, name: str) -> None:
        layer = OnPoints(BUILD[name]())
        x, pos = o3.Irreps(IRREPS_IN).randn(16, -1), torch.rand(16, 3)
        y = layer(x, pos)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(x, pos), y)
        assert layer(x.bfloat16(), pos).dtype == torch.bfloat16

    def test_state_holds_parameters_only(self, name: str) -> None:
        layer = BUILD[name]()
        assert set(layer.state_dict()) == {key for key, _ in layer.named_parameters()}


def test_arguments_are_those_of_e3tools() -> None:
    theirs = pytest.importorskip("e3tools.nn").TransformerBlock
    call = list(inspect.signature(theirs.forward).parameters)
    assert list(inspect.signature(E3toolsTransformerBlock.forward).parameters) == [*call, "batch"]
    build = list(inspect.signature(theirs.__init__).parameters)
    assert list(inspect.signature(E3toolsTransformerBlock.__init__).parameters)[:5] == build[:5]


def test_forgotten_batch_is_an_error() -> None:
    """Else the graphs of a batch would silently become one."""
    edges = torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, SCALARS), torch.zeros(0, 9)
    with pytest.raises(TypeError, match="'batch'"):
        e3tools()(torch.zeros(3, 10), *edges)


def test_guide_checks_shapes() -> None:
    with pytest.raises(ValueError, match=r"f has shape \(3, 10\) and pos \(4, 3\)"):
        guide()(torch.zeros(3, 10), torch.zeros(4, 3))


def test_guide_has_gradients_where_points_coincide() -> None:
    pos = torch.zeros(3, 3, requires_grad=True)
    guide()(torch.randn(3, 10), pos).square().sum().backward()
    assert pos.grad.isfinite().all() and pos.grad.abs().max() > 0
