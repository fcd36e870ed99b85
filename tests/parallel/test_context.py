"""One structure in several processes: what one process computes, to any order of derivatives."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from e3hyena import HyenaBlock, HyenaNet, HyenaOperator, SE3Hyena
from e3hyena.models import energy_and_forces
from e3hyena.parallel import ContextParallel, shard
from tests.parallel.processes import in_processes

MIXERS = ["query_key", "filter", "coordinate", "linear_attention"]
IRREPS = "4x0e + 4x1o"  # three processes hold 2, 1 and 1 channels
TOLERANCE = 1e-10  # of the largest value of its kind


def net(mixer: str | None, **options) -> HyenaNet:
    torch.manual_seed(0)
    options = {"cutoff": 2.0, "num_layers": 2, "irreps_out": "0e", "ordered": True, **options}
    return HyenaNet(mixer=mixer, irreps_hidden=IRREPS, **options).double()


def models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    operators = {mixer: HyenaOperator(IRREPS, mixer=mixer).double() for mixer in MIXERS}
    square = {"degree": 2, "modes": 3, "sharpening": 2}
    return {
        **operators,
        "block": HyenaBlock(IRREPS, mixer="filter", boundary="causal", short_conv=3).double(),
        "degree 2": HyenaOperator(IRREPS, mixer="coordinate", mixer_options=square).double(),
        "energy": net("coordinate"),
        "energy in order": net("query_key", num_layers=1, short_conv=2),
        "local": net(None),
        "dipole": net("linear_attention", irreps_out="1o", cutoff=None, pool="mean", num_layers=1),
        "per atom": net("coordinate", pool=None, num_layers=1),
    }


def mine(x: Tensor) -> Tensor:
    """Rows of this process: uneven shares; of three processes one has none."""
    if not dist.is_initialized():
        return x
    sizes = {2: [len(x) - 5, 5], 3: [len(x) - 6, 0, 6]}[dist.get_world_size()]
    return x.split(sizes)[dist.get_rank()]


def derivatives() -> dict[str, tuple[list[Tensor], list[Tensor]]]:
    """By model: what belongs to tokens (result, gradient, second derivative), and to weights."""
    found = {}
    for name, model in models().items():
        draw = torch.Generator().manual_seed(1)
        dim = 3 if isinstance(model, HyenaNet) else model.irreps_in.dim
        x, along = 3 * torch.rand(2, 17, dim, generator=draw, dtype=torch.float64)
        z = torch.randint(1, 9, (17,), generator=draw)
        x, along, z = mine(x).clone().requires_grad_(), mine(along), mine(z)
        call = ContextParallel(model) if dist.is_initialized() else model
        y = call(z, x) if isinstance(model, HyenaNet) else call(x)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        goal = (gradient * along).sum() + y.pow(3).sum()  # a sharded term, and one of y
        weights = list(model.parameters())
        second, *by_weights = torch.autograd.grad(goal, [x, *weights], materialize_grads=True)
        pooled = isinstance(model, HyenaNet) and model.pool is not None
        tokens = [gradient, second] if pooled else [y, gradient, second]
        shared = [*by_weights, y] if pooled else by_weights
        found[name] = [t.detach() for t in tokens], [t.detach() for t in shared]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 3])
def test_result_gradient_and_second_derivative_are_those_of_one_process(number):
    parts = in_processes(number, derivatives)
    for name, (tokens, shared) in derivatives().items():
        for i, expected in enumerate(tokens):
            together = torch.cat([part[name][0][i] for part in parts])
            error = float((together - expected).abs().max() / expected.abs().max())
            assert error < TOLERANCE, f"{name}, {i}: {error}"
        largest = max(float(weight.abs().max()) for weight in shared)
        for i, expected in enumerate(shared):
            for part in parts:
                error = float((part[name][1][i] - expected).abs().max()) / largest
                assert error < TOLERANCE, f"{name}, weight {i}: {error}"


def both_ways() -> list[Tensor]:
    """Gradients of two structures, each in two of four processes (or of one process)."""
    model, draw = net("coordinate", num_layers=1), torch.Generator().manual_seed(1)
    pos = 3 * torch.rand(2, 11, 3, generator=draw, dtype=torch.float64)
    z = torch.randint(1, 9, (2, 11), generator=draw)
    if dist.is_initialized():
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "context"))
        parallel = ContextParallel(model, mesh["context"])
        run = DistributedDataParallel(parallel, process_group=mesh.get_group("data"))
        row, place = mesh.get_coordinate()
        run(
            z[row].tensor_split(2)[place], pos[row].tensor_split(2)[place]
        ).square().sum().backward()
    else:
        sum(model(*each).square().sum() / 2 for each in zip(z, pos, strict=True)).backward()
    return [weight.grad for weight in model.parameters()]


@pytest.mark.slow
def test_beside_data_parallelism_on_a_mesh():
    expected = both_ways()
    for part in in_processes(4, both_ways):
        for found, wanted in zip(part, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (HyenaNet("0e", mixer="attention"), ValueError, "compares every token.*use coordinate"),
        (
            HyenaNet("0e", cutoff=2.0, mixer_options={"range": 4.0}),
            ValueError,
            "pairs of a range.*leave the range out",
        ),
        (SE3Hyena("4x0e + 1o"), TypeError, "got a SE3Hyena; wanted a HyenaNet"),
    ],
)
def test_what_does_not_shard_says_so(model, kind, message):
    with pytest.raises(kind, match=message):
        ContextParallel(model)


def calls() -> list[str]:
    """Errors of calls that cannot be; forces are those of one process."""
    found = []
    for model, arguments in [
        (HyenaOperator("0e + 1o"), [torch.randn(4, 4)]),  # one channel
        (HyenaOperator(IRREPS), [torch.randn(4, 16), torch.zeros(4).long()]),
        (HyenaNet("0e", cutoff=2.0), [torch.ones(4).long()]),
    ]:
        with pytest.raises(ValueError) as error:
            ContextParallel(model)(*arguments)
        found.append(str(error.value))
    draw = torch.Generator().manual_seed(1)
    pos, z = 3 * torch.rand(9, 3, generator=draw).double(), torch.ones(9).long()
    own = net("coordinate", num_layers=1)
    energy, forces = energy_and_forces(ContextParallel(own), shard(z), shard(pos))
    whole, all_forces = energy_and_forces(own, z, pos)
    torch.testing.assert_close(energy, whole)
    torch.testing.assert_close(forces, shard(all_forces))
    return found


@pytest.mark.slow
def test_calls_that_cannot_be_and_forces():
    for channels, operands, missing in in_processes(2, calls):
        assert "1 channels cannot be shared by 2 processes" in channels
        assert "got 2 operands" in operands and "no batch" in operands
        assert "got 1 operands" in missing
