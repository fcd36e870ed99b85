"""Graphs with several kinds of nodes: one operator per node set, or PyG's own conversion."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, HeteroData
from torch_geometric.nn import HeteroConv, MessagePassing, to_hetero

from e3hyena import HyenaBlock, HyenaOperator, LocalGlobalBlock

IRREPS = {"ligand": "4x0e + 4x1o", "protein": "2x0e + 2x1o + 2x2e"}
METADATA = ([*IRREPS], [("ligand", "near", "protein"), ("protein", "near", "ligand")])


def pair(num_ligand: int, num_protein: int, dims: tuple[int, int] = (16, 18)) -> HeteroData:
    """A ligand in a protein, everything near everything."""
    data = HeteroData()
    sizes = {"ligand": num_ligand, "protein": num_protein}
    for (name, count), dim in zip(sizes.items(), dims, strict=True):
        data[name].x = torch.randn(count, dim)
    for source, relation, target in METADATA[1]:
        edges = torch.cartesian_prod(torch.arange(sizes[source]), torch.arange(sizes[target])).T
        data[source, relation, target].edge_index = edges
    return data


@pytest.mark.parametrize("mixer", ["coordinate", "query_key"])
def test_one_operator_per_node_set(mixer: str) -> None:
    """Every set of every graph is computed as if alone."""
    operators = {name: HyenaOperator(irreps, mixer=mixer) for name, irreps in IRREPS.items()}
    graphs = [pair(3, 7), pair(5, 4), pair(1, 9)]
    batch = Batch.from_data_list(graphs)
    for name, operator in operators.items():
        y = operator(batch.x_dict[name], batch.batch_dict[name])
        alone = torch.cat([operator(graph[name].x) for graph in graphs])
        torch.testing.assert_close(y, alone, rtol=1e-4, atol=1e-5)


class Messages(MessagePassing):
    """Invariants only, which is enough to be carried from one set to the other."""

    def __init__(self) -> None:
        super().__init__(aggr="mean")

    def forward(self, x, edge_index):
        return self.propagate(edge_index, x=x)


def test_beside_hetero_conv() -> None:
    """Messages between the sets by PyG, a Hyena block within every set."""
    dims = (16, 16)
    conv = HeteroConv({edge: Messages() for edge in METADATA[1]})
    blocks = {name: HyenaBlock("4x0e + 4x1o", mixer="coordinate") for name in IRREPS}

    def model(data, batch_dict):
        heard = conv(data.x_dict, data.edge_index_dict)
        return {
            name: block(data.x_dict[name] + heard[name], batch_dict[name])
            for name, block in blocks.items()
        }

    graphs = [pair(3, 7, dims), pair(5, 4, dims)]
    batch = Batch.from_data_list(graphs)
    y = model(batch, batch.batch_dict)
    alone = [model(graph, dict.fromkeys(IRREPS)) for graph in graphs]
    for name in IRREPS:
        expected = torch.cat([each[name] for each in alone])
        torch.testing.assert_close(y[name], expected, rtol=1e-4, atol=1e-5)


# PyG can draw copies' parameters anew where a module has `reset_parameters`
@pytest.mark.filterwarnings("ignore:'block' will be duplicated")
def test_to_hetero() -> None:
    """PyG's conversion copies a block for every node set."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.local = Messages()
            self.block = LocalGlobalBlock("4x0e + 4x1o", None)

        def forward(self, x, edge_index, batch):
            return self.block(self.local(x, edge_index), None, batch)

    net = to_hetero(Net(), METADATA)
    batch = Batch.from_data_list([pair(3, 7, (16, 16)), pair(5, 4, (16, 16))])
    y = net(batch.x_dict, batch.edge_index_dict, batch.batch_dict)
    conv = HeteroConv({edge: Messages() for edge in METADATA[1]})
    heard = conv(batch.x_dict, batch.edge_index_dict)
    for name in IRREPS:
        expected = net.block[name].block(heard[name], batch.batch_dict[name])
        torch.testing.assert_close(y[name], expected, rtol=1e-4, atol=1e-5)
