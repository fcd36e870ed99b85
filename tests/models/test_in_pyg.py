"""A user's PyG model with local + global blocks: loaders, transforms, lightning, compiler, AMP."""

import pytest
import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.data.lightning import LightningDataset
from torch_geometric.loader import DataLoader
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import MultiAggregation, SoftmaxAggregation, SumAggregation
from torch_geometric.transforms import BaseTransform, Center, Compose, RandomRotate

from e3hyena import HyenaNet, LocalGlobalBlock
from e3hyena.data import QM9Extract
from e3hyena.ops.radius_graph import radius_graph

IRREPS = o3.Irreps("8x0e + 8x1o")
EDGE = o3.Irreps("0e + 1o")


class WithEdges(BaseTransform):
    """A transform as users write them: edges within 1.7 Angstrom and their harmonics."""

    def forward(self, data: Data) -> Data:
        data.edge_index = radius_graph(data.pos, 1.7)
        vector = data.pos[data.edge_index[0]] - data.pos[data.edge_index[1]]
        data.edge_attr = torch.cat([1.7 - vector.norm(dim=1, keepdim=True), vector], dim=1)
        return data


class Neighbours(MessagePassing):
    """A layer as users write them."""

    def __init__(self) -> None:
        super().__init__(aggr="mean")
        self.product = o3.FullyConnectedTensorProduct(IRREPS, EDGE, IRREPS)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, edge_attr=edge_attr)

    def message(self, x_j: Tensor, edge_attr: Tensor) -> Tensor:
        return self.product(x_j, edge_attr)


class Energy(nn.Module):
    """Embedding, two blocks, an aggregation of PyG."""

    def __init__(self, aggregation: nn.Module | None = None) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.blocks = nn.ModuleList(LocalGlobalBlock(IRREPS, Neighbours()) for _ in range(2))
        self.aggregation = SumAggregation() if aggregation is None else aggregation
        self.readout = nn.LazyLinear(1)

    def forward(self, data: Data) -> Tensor:
        x = nn.functional.pad(self.embed(data.z), (0, 24))
        for block in self.blocks:
            x = block(x, data.edge_index, data.batch, edge_attr=data.edge_attr)
        index = x.new_zeros(len(x), dtype=torch.long) if data.batch is None else data.batch
        return self.readout(self.aggregation(x[:, :8], index))


@pytest.fixture(scope="module")
def molecules() -> list[Data]:
    return [WithEdges()(data) for data in QM9Extract("val")[:12]]


@pytest.fixture
def model(molecules: list[Data]) -> Energy:
    net = Energy()
    net(molecules[0])  # materialises the readout
    return net


def test_batch_and_loader(model: Energy, molecules: list[Data]) -> None:
    alone = torch.cat([model(data) for data in molecules])
    batched = model(Batch.from_data_list(molecules))
    loaded = torch.cat([model(batch) for batch in DataLoader(molecules, batch_size=5)])
    torch.testing.assert_close(batched, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loaded, alone, rtol=1e-4, atol=1e-4)


def test_transforms(model: Energy, molecules: list[Data]) -> None:
    """Transforms of PyG before ours: the energy does not see where and how a molecule stands."""
    turn = Compose([Center(), *(RandomRotate(180, axis) for axis in range(3)), WithEdges()])
    for data in molecules[:3]:
        moved = turn(data.clone())
        assert (moved.pos - data.pos).abs().max() > 0.1
        torch.testing.assert_close(model(moved), model(data), rtol=1e-4, atol=1e-4)


def test_aggregations(molecules: list[Data]) -> None:
    pool = MultiAggregation(["mean", "max", SoftmaxAggregation(learn=True)])
    net = Energy(pool)
    batch = Batch.from_data_list(molecules)
    net(batch).square().sum().backward()
    assert net.readout.in_features == 24
    assert pool.aggrs[2].t.grad.abs() > 0
    torch.testing.assert_close(net(batch)[3:4], net(molecules[3]), rtol=1e-4, atol=1e-4)


def test_lightning_dataset(model: Energy, molecules: list[Data], tmp_path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.losses = model, []

        def training_step(self, batch: Batch, _: int) -> Tensor:
            loss = (self.net(batch) - batch.y[:, 4:5]).square().mean()
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch: Batch, _: int) -> None:
            assert self.net(batch).shape == (batch.num_graphs, 1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=3e-3)

    module = Module()
    trainer = lightning.Trainer(
        max_epochs=8,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=tmp_path,
    )
    loaders = {"batch_size": 4, "pin_memory": False}
    trainer.fit(module, datamodule=LightningDataset(molecules[:8], molecules[8:], **loaders))
    assert sum(module.losses[-2:]) < sum(module.losses[:2])


@pytest.mark.slow
# dynamo looks at `.grad` of whatever it traces, and hides the warning unless warnings are errors
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_inference_and_training(model: Energy, molecules: list[Data]) -> None:
    """One compiled model serves batches of any size, forward and backward."""
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", dynamic=True)
    parameters = list(model.parameters())
    for part in (molecules[:4], molecules[4:9], molecules[9:]):
        batch = Batch.from_data_list(part)
        with torch.no_grad():
            torch.testing.assert_close(compiled(batch), model(batch))
        expected = torch.autograd.grad(model(batch).square().sum(), parameters)
        actual = torch.autograd.grad(compiled(batch).square().sum(), parameters)
        for a, b in zip(actual, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * b.abs().max().item() + 1e-12)
    torch.compiler.reset()


def test_autocast(model: Energy, molecules: list[Data]) -> None:
    """Under AMP the rest of the model runs in bfloat16, the block in float32; it trains."""
    batch = Batch.from_data_list(molecules)
    expected = model(batch).detach()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            energy = model(batch)
            loss = (energy - batch.y[:, 4:5]).square().mean()
        if not losses:
            assert (energy - expected).abs().max() < 0.05 * expected.abs().max()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert energy.dtype == torch.bfloat16  # of the readout, a plain nn.Linear
    assert losses[-1] < 0.5 * losses[0]


def test_a_network_takes_data_batches_points_and_the_number_of_graphs() -> None:
    net = HyenaNet("1o", irreps_hidden="4x0e + 4x1o", num_layers=1, cutoff=3.0)
    molecules = QM9Extract("val")[:3]
    batch = Batch.from_data_list(list(molecules))
    y = net(batch.z, batch.pos, batch.batch)
    torch.testing.assert_close(net(batch), y)
    torch.testing.assert_close(net(molecules[0]), y[:1])
    more = net(batch.z, batch.pos, batch.batch, batch_size=5)
    torch.testing.assert_close(more, nn.functional.pad(y, (0, 0, 0, 2)))
    with pytest.raises(ValueError, match="graph 2, of 2"):
        net(batch.z, batch.pos, batch.batch, batch_size=2)
    assert net(None, batch.pos, batch.batch).abs().min() > 0
    with pytest.raises(ValueError, match="no positions"):
        net(batch.z)
