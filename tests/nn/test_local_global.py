"""The block takes any message passing, and keeps the symmetries that the message passing has."""

import pytest
import torch
from e3nn import o3
from torch import nn
from torch_geometric.nn import MessagePassing

from e3hyena.nn import HyenaBlock, Interaction, LocalGlobalBlock
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.testing import (
    NETWORK_TOLERANCE,
    assert_batch_independent,
    assert_equivariant,
    assert_permutation_equivariant,
    perturb_parameters,
    train_steps,
)

IRREPS = o3.Irreps("4x0e + 4x1o")
EDGE = o3.Irreps("0e + 1o")
BATCH = torch.repeat_interleave(torch.arange(3), torch.tensor([6, 1, 9]))


class Neighbours(MessagePassing):
    """A user's own layer: the neighbours' features times length and direction of the edge."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.product = o3.FullyConnectedTensorProduct(IRREPS, EDGE, IRREPS)

    def forward(self, x, edge_index, edge_sh):
        return self.propagate(edge_index, x=x, edge_sh=edge_sh) / 4

    def message(self, x_j, edge_sh):
        return self.product(x_j, edge_sh)


def e3tools_conv() -> nn.Module:
    layers = pytest.importorskip("e3tools.nn")
    return layers.Conv(IRREPS, IRREPS, EDGE, edge_attr_dim=1)


LAYERS = {
    "ours": lambda: Interaction(IRREPS, cutoff=1.5),
    "a user's": Neighbours,
    "e3tools": e3tools_conv,
}


class OnPoints(nn.Module):
    """The block with the edges that its interaction asks for."""

    irreps_in, irreps_out = (IRREPS, "cartesian_points"), (IRREPS,)

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer
        self.block = LocalGlobalBlock(IRREPS, LAYERS[layer]())

    def forward(self, x, pos, batch):
        edge_index = radius_graph(pos.nan_to_num(), 1.5, batch)
        if self.layer == "ours":
            return self.block(x, edge_index, batch, pos=pos)
        vector = pos[edge_index[0]] - pos[edge_index[1]]
        length = vector.norm(dim=1, keepdim=True)
        edges = {"edge_sh": torch.cat([1.5 - length, vector], dim=1)}
        if self.layer == "e3tools":
            edges["edge_attr"] = 1.5 - length
        return self.block(x, edge_index, batch, **edges)


@pytest.mark.parametrize("layer", LAYERS)
def test_symmetry(layer: str) -> None:
    module = OnPoints(layer)
    kwargs = {"batch": BATCH}
    options = {"tolerance": NETWORK_TOLERANCE, "seeds": 2}
    assert_equivariant(module, kwargs=kwargs, translation=True, **options)
    assert_permutation_equivariant(module, kwargs=kwargs, **options)
    assert_batch_independent(module, sizes=(6, 0, 1, 9), seeds=1, tolerance=NETWORK_TOLERANCE)
    perturb_parameters(module)
    losses = train_steps(module, [IRREPS.randn(16, -1), torch.rand(16, 3)], 10, kwargs=kwargs)
    assert losses[-1] < losses[0]
    assert_equivariant(module, kwargs=kwargs, translation=True, **options)


def test_is_the_interaction_then_the_block() -> None:
    block = LocalGlobalBlock(IRREPS, Interaction(IRREPS, cutoff=1.5))
    x, pos, edge_index = IRREPS.randn(3, -1), torch.rand(3, 3), torch.tensor([[0, 1], [1, 0]])
    local = x + block.interaction(block.norm(x), pos, edge_index)
    torch.testing.assert_close(block(x, edge_index, pos=pos), block.block(local))


def test_reach_of_the_two_parts() -> None:
    """Without mixer only edges carry anything; with it every node hears every node of its graph."""
    edge_index, batch = torch.tensor([[0], [1]]), torch.tensor([0, 0, 0, 1])
    for mixer, heard in ((None, [0, 1]), ("coordinate", [0, 1, 2])):
        block = LocalGlobalBlock(IRREPS, Interaction(IRREPS, cutoff=2.0), mixer=mixer)
        x = IRREPS.randn(4, -1).requires_grad_()
        y = block(x, edge_index, batch, pos=torch.rand(4, 3))
        (grad,) = torch.autograd.grad(y[1].square().sum(), x)
        assert grad.abs().amax(dim=1).nonzero().flatten().tolist() == heard


def test_without_local_part() -> None:
    """Then it is a block, and takes what a block takes."""
    options = {"mixer": "query_key", "irreps_hidden": "2x0e + 2x1o", "expansion": 3}
    block = LocalGlobalBlock(IRREPS, None, **options)
    plain = HyenaBlock(IRREPS, **options)
    plain.load_state_dict(block.block.state_dict())
    x = IRREPS.randn(16, -1)
    assert torch.equal(block(x, None, BATCH), plain(x, BATCH))


def test_finite_at_zero() -> None:
    block = perturb_parameters(LocalGlobalBlock(IRREPS, Interaction(IRREPS, cutoff=1.5)))
    x, pos = torch.zeros(3, 16, requires_grad=True), torch.zeros(3, 3, requires_grad=True)
    y = block(x, torch.tensor([[0, 1], [1, 2]]), pos=pos)
    grads = torch.autograd.grad(y.square().sum(), [x, pos, *block.parameters()])
    assert all(grad.isfinite().all() for grad in grads)


def test_no_nodes() -> None:
    block = LocalGlobalBlock(IRREPS, Neighbours())
    edges = torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    assert block(torch.zeros(0, 16), *edges, edge_sh=torch.zeros(0, 4)).shape == (0, 16)


def test_wrong_use() -> None:
    with pytest.raises(TypeError, match="interaction is a function; wanted a module"):
        LocalGlobalBlock(IRREPS, lambda x, edge_index: x)
    with pytest.raises(TypeError, match="expand"):
        LocalGlobalBlock(IRREPS, None, expand=3)
    block = LocalGlobalBlock(IRREPS, e3tools_conv())
    with pytest.raises(ValueError, match=r"wants \(num_tokens, 16\)"):
        block(torch.zeros(3, 15), torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(TypeError, match="pos"):  # named by the interaction itself
        block(torch.zeros(3, 16), torch.zeros(2, 0, dtype=torch.long), pos=torch.zeros(3, 3))

    class Wide(nn.Module):
        def forward(self, x, edge_index):
            return torch.cat([x, x], dim=1)

    with pytest.raises(ValueError, match=r"Wide returns shape \(3, 32\) for features \(3, 16\)"):
        LocalGlobalBlock(IRREPS, Wide())(torch.zeros(3, 16), torch.zeros(2, 0, dtype=torch.long))
