"""L-GATr-slim as an opponent: its symmetry, and that it learns."""

import pytest
import torch

from e3hyena import _extras
from e3hyena.experiments.opponents.lgatr_slim import LGATrSlim
from e3hyena.experiments.recall_net import RecallNet
from e3hyena.ops.segments import Segments
from e3hyena.testing import NETWORK_TOLERANCE, assert_equivariant, assert_permutation_equivariant


class OneGraph(torch.nn.Module):
    """Called with the tokens of one graph."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.net = LGATrSlim("2x0e + 3x1o", "0e + 2x1o", "8x0e + 8x1o", num_blocks=2, **options)
        self.irreps_in, self.irreps_out = self.net.irreps_in, self.net.irreps_out

    def forward(self, x):
        return self.net(x, Segments((len(x),)))


def test_symmetry() -> None:
    checks = {"num_tokens": 7, "seeds": 2, "tolerance": NETWORK_TOLERANCE}
    assert_equivariant(OneGraph(), **checks)
    assert_permutation_equivariant(OneGraph(), **checks)


def test_scalars_see_vectors_through_the_time_axis() -> None:
    torch.manual_seed(0)
    net = OneGraph()
    x = torch.randn(5, 11)
    longer = torch.cat([x[:, :2], 2 * x[:, 2:]], dim=1)
    assert not torch.allclose(net(x)[:, 0], net(longer)[:, 0], atol=1e-4)


def test_graphs_do_not_see_one_another() -> None:
    net = OneGraph().net
    x = torch.randn(12, 11)
    together = net(x, Segments((4, 4, 4)))
    torch.testing.assert_close(together[4:8], net(x[4:8], Segments((4,))))
    with pytest.raises(ValueError, match="equal size"):
        net(x, Segments((4, 8)))


def test_gradients_are_finite_at_zero() -> None:
    net = OneGraph().net
    x = torch.zeros(6, 11, requires_grad=True)
    net(x, Segments((6,))).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_it_learns() -> None:
    torch.manual_seed(0)
    net = RecallNet("1x1o", "8x0e + 8x1o", 1, "lgatr_slim")
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    x = torch.randn(16, 5, 3)
    losses = []
    for _ in range(60):
        loss = (net(x) - x[:, 1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_wrong_irreps() -> None:
    with pytest.raises(ValueError, match="2e"):
        LGATrSlim("0e + 1o + 2e", "0e", "4x0e + 4x1o", num_blocks=1)


def test_without_the_package(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(_extras.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"e3hyena\[opponents\]"):
        LGATrSlim("0e + 1o", "1o", "4x0e + 4x1o", num_blocks=1)
