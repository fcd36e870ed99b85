"""Atoms are a set: `HyenaNet` with its default mixer, on real molecules."""

import pytest
import torch

from e3hyena import HyenaNet
from e3hyena.data import QM9Extract
from e3hyena.testing.measure import relative_error

# One relative error per dtype, and how much smaller it must be in float64.
LIMITS = {torch.float32: 5e-6, torch.float64: 1e-12}
OPTIONS = [{}, {"degree": 2, "sharpening": 8}, {"modes": 64}]


def molecules(count: int = 4) -> list:
    data = QM9Extract("test")
    return [data[i] for i in range(0, 50 * count, 50)]


def change_by_relisting(net: HyenaNet, dtype: torch.dtype) -> float:
    """Largest relative change of the property, and of features per atom, over some re-listings."""
    net = net.to(dtype)
    worst = 0.0
    for seed, data in enumerate(molecules()):
        pos = data.pos.to(dtype)
        order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            listed, relisted = net(data.z, pos), net(data.z[order], pos[order])
        expected = listed[order] if net.pool is None else listed
        worst = max(worst, relative_error([relisted], [expected]))
    return worst


def train_a_little(net: HyenaNet, steps: int = 3) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for data in molecules(steps):
        optimizer.zero_grad()
        net(data.z, data.pos).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("pool", ["sum", None])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("state", ["new", "perturbed", "trained"])
def test_relisting_changes_nothing(pool: str | None, options: dict, state: str) -> None:
    net = HyenaNet(
        "0e + 1o",
        irreps_hidden="8x0e + 8x1o",
        num_layers=2,
        cutoff=2.0,
        pool=pool,
        mixer_options=options,
    )
    if state == "perturbed":
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    elif state == "trained":
        train_a_little(net)
    errors = {dtype: change_by_relisting(net, dtype) for dtype in LIMITS}
    assert all(errors[dtype] <= limit for dtype, limit in LIMITS.items()), errors
    assert errors[torch.float32] > 1e4 * errors[torch.float64], errors


def test_an_index_mixer_changes() -> None:
    """The positive control: the same check sees an order where there is one."""
    net = HyenaNet("0e", irreps_hidden="8x0e + 8x1o", mixer="query_key", ordered=True)
    assert change_by_relisting(net, torch.float64) > 1e-3
