"""Message passing of your own with Hyena beside it: HOMO-LUMO gaps, on PyG's loader."""

import torch
from e3nn import o3
from torch_geometric.loader import DataLoader
from torch_geometric.nn import MessagePassing, global_mean_pool

from e3hyena import LocalGlobalBlock
from e3hyena.data import QM9Extract
from e3hyena.ops.radius_graph import radius_graph

IRREPS = o3.Irreps("16x0e + 16x1o")


class Neighbours(MessagePassing):
    def __init__(self):
        super().__init__(aggr="add")
        self.product = o3.FullyConnectedTensorProduct(IRREPS, "0e + 1o", IRREPS)

    def forward(self, x, edge_index, edge_attr):
        return self.propagate(edge_index, x=x, edge_attr=edge_attr)

    def message(self, x_j, edge_attr):
        return self.product(x_j, edge_attr)


embed, readout = torch.nn.Embedding(10, 16), torch.nn.Linear(16, 1)
blocks = torch.nn.ModuleList(LocalGlobalBlock(IRREPS, Neighbours()) for _ in range(2))
optimizer = torch.optim.Adam(torch.nn.ModuleList([embed, *blocks, readout]).parameters(), lr=1e-2)
for step, data in enumerate(DataLoader(QM9Extract("train").shuffle()[:6400], batch_size=32)):
    edge_index = radius_graph(data.pos, 2.0, data.batch)
    vectors = data.pos[edge_index[0]] - data.pos[edge_index[1]]
    edges = torch.cat([2 - vectors.norm(dim=1, keepdim=True), vectors], dim=1)
    x = torch.nn.functional.pad(embed(data.z), (0, 48))  # vectors start at zero
    for block in blocks:
        x = block(x, edge_index, data.batch, edge_attr=edges)
    loss = (6.8 + readout(global_mean_pool(x[:, :16], data.batch)) - data.y[:, 4:5]).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step + 1}: mean error {loss.item():.2f} eV, of always guessing the mean 1.08")
