"""The network under torch's compiler: one graph for batches of any size, the same losses."""

import pytest
import torch
from torch._dynamo.utils import counters

from e3hyena import HyenaNet
from e3hyena.ops.neighbours import neighbours

OPTIONS = {"irreps_hidden": "4x0e + 4x1o", "num_layers": 1, "cutoff": 3.0}


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def batch_of(sizes):
    n = sum(sizes)
    z, pos = torch.randint(1, 9, (n,)), 2 * torch.randn(n, 3)
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), ptr.diff())
    return z, pos, batch, ptr


def losses(net, call, batches):
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    found = []
    for batch in batches:
        optimizer.zero_grad()
        loss = call(*batch).square().mean()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return torch.tensor(found)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("mixer", ["coordinate", None])
def test_one_graph_and_the_losses_of_eager(mixer):
    batches = [batch_of(sizes) for sizes in ([5, 9, 7], [4, 6, 6, 11], [3, 8], [12, 3, 4, 2, 2])]
    net = HyenaNet("0e", mixer=mixer, **OPTIONS)
    start = {name: value.clone() for name, value in net.state_dict().items()}
    expected = losses(net, lambda z, pos, batch, ptr: net(z, pos, batch), batches)
    net.load_state_dict(start)
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend="aot_eager")

    def call(z, pos, batch, ptr):
        edges = neighbours(pos, 3.0, batch)[0]
        return compiled(z, pos, batch, ptr=ptr, edge_index=edges)

    torch.testing.assert_close(losses(net, call, batches), expected, rtol=1e-4, atol=1e-6)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
def test_compile_layers_reads_the_batch_by_itself():
    batches = [batch_of(sizes) for sizes in ([5, 9, 7], [4, 6, 6, 11], [3, 8])]
    net = HyenaNet("0e", **OPTIONS)
    expected = [net(z, pos, batch) for z, pos, batch, _ in batches]
    names = list(net.state_dict())
    net.compile_layers(backend="aot_eager")
    assert list(net.state_dict()) == names
    for (z, pos, batch, _), y in zip(batches, expected, strict=True):
        torch.testing.assert_close(net(z, pos, batch), y, rtol=1e-4, atol=1e-6)
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("options", [{"mixer": "attention"}, {"short_conv": 3, "ordered": True}])
def test_what_is_not_compiled(options):
    with pytest.raises(ValueError, match="take mixer='coordinate'"):
        HyenaNet("0e", **OPTIONS, **options).compile_layers()


def test_offsets_agree_with_the_batch():
    z, pos, batch, ptr = batch_of([3, 4])
    net = HyenaNet("0e", **OPTIONS)
    assert torch.equal(net(z, pos, batch, ptr=ptr), net(z, pos, batch))
    with pytest.raises(ValueError, match="different graphs"):
        net(z, pos, batch, ptr=torch.tensor([0, 2, 7]))
