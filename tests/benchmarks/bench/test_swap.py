"""The layers that are compared, inside a small model, before and after the swap."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.bench import swap
from benchmarks.bench.swap_cases import CASES, Case, OnPoints, draw_points, radius_for
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
@pytest.mark.parametrize("swapped", [False, True], ids=["before", "after"])
def test_small_model(name: str, swapped: bool) -> None:
    case = CASES[name]
    model = Model(case, swapped=swapped)
    tolerance = NETWORK_TOLERANCE if swapped else E3NN_TOLERANCE
    options = {"translation": True, "tolerance": tolerance, "check_ratio": swapped, "seeds": 1}
    assert_equivariant(model, **options)
    losses = train_steps(model, [o3.Irreps(case.irreps_in).randn(24, -1), draw_points(24)], 10)
    assert losses[-1] < losses[0]
    assert_equivariant(model, **options)


def test_radius_has_the_neighbours_asked_for() -> None:
    pos = draw_points(4000)
    inside = ((pos - 4000 ** (1 / 3) / 2).abs().amax(dim=1) < 5).nonzero().flatten()
    distance = torch.cdist(pos[inside], pos)
    found = (distance < radius_for(16)).sum(dim=1).float().mean() - 1
    assert 14 < found < 18


@pytest.mark.slow
def test_report(tmp_path: Path) -> None:
    page, output = tmp_path / "page.md", tmp_path / "report.json"
    page.write_text("<!-- swap -->\n<!-- /swap -->\n")
    swap.run(
        swap.Config(
            cases=["Equiformer-style attention"],
            length=128,
            neighbours=6,
            small_length=64,
            gibibytes=0.05,
            repeats=1,
            threads=1,
            output=str(output),
            documents=[str(page)],
        )
    )
    report = json.loads(output.read_text())
    assert swap.render(report) in page.read_text()
    (case,) = report["cases"].values()
    assert case["length"] == {
        "all_pairs": case["length"]["swapped_as_long"],
        "local": 128,
        "swapped": 128,
        "swapped_as_long": case["length"]["all_pairs"],
    }
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


def test_unknown_case() -> None:
    with pytest.raises(ValueError, match=r"cases \['mine'\] are unknown"):
        swap.run(swap.Config(cases=["mine"]))
