"""Two e3tools blocks, as they are and with Hyena in place of attention: train, time, check."""

import resource
import time

import torch
from e3nn import o3
from e3tools.nn import TransformerBlock

from e3hyena.nn.adapters import E3toolsTransformerBlock
from e3hyena.ops.radius_graph import radius_graph
from e3hyena.testing import assert_equivariant, train_steps

IRREPS, SH, RADIUS = o3.Irreps("16x0e + 16x1o"), o3.Irreps("0e + 1o + 2e"), 1.6


class Model(torch.nn.Module):
    def __init__(self, block, *batch):
        super().__init__()
        self.blocks = torch.nn.ModuleList(block(IRREPS, IRREPS, SH, 1) for _ in range(2))
        self.batch = batch  # for Hyena: the graph of every node, or None

    def forward(self, x, pos):
        source, target = edge_index = radius_graph(pos, RADIUS)
        vector = pos[source] - pos[target]
        fade = (1 - vector.norm(dim=1, keepdim=True) / RADIUS) ** 2
        harmonics = o3.spherical_harmonics(SH, vector, True, normalization="component")
        for block in self.blocks:
            x = block(x, edge_index, fade, harmonics, *self.batch)
        return x


x, pos = IRREPS.randn(1000, -1), 10 * torch.rand(1000, 3)
for model in (hyena := Model(E3toolsTransformerBlock, None), Model(TransformerBlock)):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    losses = train_steps(model, [x, pos], steps=5)
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    used = f"{time.perf_counter() - start:.1f} s, {added >> 10} MiB"
    print(f"{type(model.blocks[0]).__name__}: {used}, loss {losses[0]:.2f} -> {losses[-1]:.2f}")
print("errors", assert_equivariant(hyena, [IRREPS, "cartesian_points"], IRREPS))
