"""The layers that are compared, inside a small model, before and after the swap."""

from typing import Any

import pytest
import torch
from benchmarks.studies import swap
from benchmarks.studies.swap.cases import CASES, Case, OnPoints, draw_points, radius_for
from e3nn import o3
from torch import Tensor, nn

from e3hyena.testing import NETWORK_TOLERANCE, assert_equivariant, train_steps

pytest.importorskip("e3tools")
# what the rivals' tensor products keep in float32 shows in float64
E3NN_TOLERANCE = (1e-4, 1e-6)


class Model(nn.Module):
    """Two layers and a read-out of a scalar and a vector per token."""

    def __init__(self, case: Case, *, swapped: bool) -> None:
        super().__init__()
        self.irreps_in = (case.irreps_in, "cartesian_points")
        self.irreps_out = ("0e + 1o",)
        layers = [OnPoints(case, radius_for(8), swapped=swapped) for _ in range(2)]
        self.layers = nn.ModuleList(layers)
        self.back = o3.Linear(case.irreps_out, case.irreps_in)
        self.readout = o3.Linear(case.irreps_out, "0e + 1o")

    def forward(self, x: Tensor, pos: Tensor) -> Tensor:
        first, second = self.layers
        return self.readout(second(self.back(first(x, pos)), pos))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "swapped",
    [pytest.param(False, marks=pytest.mark.slow, id="before"), pytest.param(True, id="after")],
)
def test_small_model(name: str, swapped: bool) -> None:
    case = CASES[name]
    model = Model(case, swapped=swapped)
    tolerance = NETWORK_TOLERANCE if swapped else E3NN_TOLERANCE
    options = {"translation": True, "tolerance": tolerance, "check_ratio": swapped, "seeds": 1}
    assert_equivariant(model, **options)
    losses = train_steps(model, [o3.Irreps(case.irreps_in).randn(24, -1), draw_points(24)], 5)
    assert losses[-1] < losses[0]
    assert_equivariant(model, **options)


def test_radius_has_the_neighbours_asked_for() -> None:
    pos = draw_points(4000)
    inside = ((pos - 4000 ** (1 / 3) / 2).abs().amax(dim=1) < 5).nonzero().flatten()
    distance = torch.cdist(pos[inside], pos)
    found = (distance < radius_for(16)).sum(dim=1).float().mean() - 1
    assert 14 < found < 18


def test_report(run_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "in_fresh_process", lambda measure, *setup: float(setup[1]))
    report, page = run_small(
        swap.STUDY,
        cases=["Equiformer-style attention"],
        length=128,
        neighbours=6,
        small_length=64,
        gibibytes=0.25,
        repeats=1,
    )
    assert "| Equiformer-style attention, all pairs | 128 | 16,256 | " in page
    (case,) = report["cases"].values()
    assert set(case["length"].values()) == {128}  # the length that fits: 64 * (256 / 64)^(1/2)
    length = case["length"]["all_pairs"]
    assert case["edges"]["all_pairs"] == length * (length - 1)
    assert case["edges"]["local"] == case["edges"]["swapped"]


def test_wrong_layer_is_not_reported() -> None:
    case = CASES["Equiformer-style attention"]

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(128))

        def forward(self, x: Tensor, *rest: object) -> Tensor:
            return x * self.scale

    broken = Case(case.irreps_in, case.irreps_out, case.attention, Broken, case.arguments)
    with pytest.raises(AssertionError, match="not equivariant"):
        swap.check(broken)


@pytest.mark.slow
def test_peak() -> None:
    """In a process of its own, of more edges more memory."""
    name = "Equiformer-style attention"
    small, large = (swap.in_fresh_process(swap._peak, name, n, 100.0, False) for n in (128, 256))
    assert 0 < 2 * small < large


def test_unknown_case() -> None:
    with pytest.raises(ValueError, match="cases: 'mine' is unknown"):
        swap.SwapConfig(cases=["mine"])
