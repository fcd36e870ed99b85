"""Weights, gradients and optimiser shared by processes, by torch's ``fully_shard``."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.distributed.fsdp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from e3hyena import HyenaNet
from e3hyena.models import energy_and_forces
from tests.parallel.processes import in_processes


class Potential(nn.Module):
    """Energies and forces, differentiated inside what is sharded: weights are whole there."""

    def __init__(self, net: HyenaNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        return energy_and_forces(self.net, z, pos, batch, create_graph=True)


def losses() -> list[float]:
    """Of five steps on energies and forces of six molecules, of which a process has its part."""
    world = dist.get_world_size() if dist.is_initialized() else 1
    torch.manual_seed(0)
    net = HyenaNet("0e", irreps_hidden="4x0e + 4x1o", num_layers=2, cutoff=3.0).double()
    potential: nn.Module = Potential(net)
    if world > 1:
        potential = torch.distributed.fsdp.fully_shard(
            potential, mesh=init_device_mesh("cpu", (world,))
        )
        held = sum(weight.to_local().numel() for weight in net.parameters())
        assert held < 0.6 * sum(weight.numel() for weight in net.parameters())
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    z, pos = torch.randint(1, 9, (6, 5)), 2 * torch.randn(6, 5, 3).double()
    mine = torch.arange(6).tensor_split(world)[dist.get_rank() if world > 1 else 0]
    batch, found = torch.arange(len(mine)).repeat_interleave(5), []
    for _ in range(5):
        energy, forces = potential(z[mine].flatten(), pos[mine].flatten(0, 1), batch)
        loss = (energy.square().mean() + forces.square().mean()) / world
        optimizer.zero_grad()
        (world * loss).backward()  # gradients are means over the processes
        optimizer.step()
        total = loss.detach()
        if world > 1:
            dist.all_reduce(total)
        found.append(float(total))
    return found


@pytest.mark.slow
def test_losses_are_those_of_one_process() -> None:
    if not hasattr(torch.distributed.fsdp, "fully_shard"):
        pytest.skip("torch has it since 2.6")
    expected = losses()
    assert expected[-1] < 0.9 * expected[0]
    for found in in_processes(2, losses):
        assert found == pytest.approx(expected, rel=1e-10)
