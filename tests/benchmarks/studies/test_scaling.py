"""The comparison of cost: its limits, its report, a whole run."""

from typing import Any

import pytest
import torch
from benchmarks.studies.scaling import PASSES, ROWS, STUDY, ScalingConfig, list_cells, measuring
from benchmarks.studies.scaling import report as scaling_report

from .conftest import made_up

TINY = {"irreps": "4x0e + 4x1o", "memory_limit": 1.0, "time_limit": 60.0}
HERE = {"threads": 1, "device": "cpu"}


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] * (i % 2)) for i, row in enumerate(ROWS)]
)
def test_every_row_runs_every_pass(row: str, name: str, tmp_path) -> None:
    values = {**TINY, **HERE, "mixers": {row: ROWS[row].mixer}, "pass": name, "rounds": 2}
    result = measuring.measure({**values, "lengths": [8, 24]}, tmp_path)[row]
    assert result["stopped"] is None
    assert [point["length"] for point in result["points"]] == [8, 24]
    assert all(point["seconds"] > 0 for point in result["points"])


@pytest.mark.parametrize("name", ["backward", "force"])
@pytest.mark.parametrize("row", ROWS)
def test_passes_differentiate(row: str, name: str) -> None:
    operator = measuring.build_operator("4x0e + 4x1o", ROWS[row].mixer)
    measuring.pass_of(operator, name, 12)()
    gradients = [weight.grad for weight in operator.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


def test_force_is_the_gradient_of_squared_forces() -> None:
    operator = measuring.build_operator("2x0e + 2x1o", "query_key").double()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(1)
        measuring.pass_of(operator, "force", 6)()
        torch.manual_seed(1)
        x = torch.randn(6, operator.irreps_in.dim)
    finally:
        torch.set_default_dtype(torch.float32)
    weight = operator.output.bias if hasattr(operator.output, "bias") else None
    weight = next(operator.parameters()) if weight is None else weight
    found = weight.grad.flatten()[0].clone()

    def loss() -> float:
        pos = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(operator(pos).square().sum(), pos)
        return float(gradient.square().sum())

    entry, step = weight.data.view(-1), 1e-6
    entry[0] += step
    above = loss()
    entry[0] -= 2 * step
    below = loss()
    assert float(found) == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-6)


def test_memory_limit_stops_the_dense_attention(tmp_path) -> None:
    mixers = {row: ROWS[row].mixer for row in ("query_key", "cross_product_dense")}
    values = {**TINY, **HERE, "mixers": mixers, "pass": "forward", "rounds": 1}
    values = {**values, "lengths": [64, 2048], "memory_limit": 0.125}
    result = measuring.measure(values, tmp_path)
    assert "0.125 GiB" in result["cross_product_dense"]["stopped"]
    assert [p["length"] for p in result["cross_product_dense"]["points"]] == [64]
    assert [p["length"] for p in result["query_key"]["points"]] == [64, 2048]


def test_other_errors_are_not_taken_for_a_limit(tmp_path, monkeypatch) -> None:
    def broken(*_: Any) -> Any:
        def call() -> None:
            raise RuntimeError("shapes do not fit")

        return call

    monkeypatch.setattr(measuring, "pass_of", broken)
    values = {**TINY, **HERE, "mixers": {"filter": "filter"}, "pass": "forward", "rounds": 1}
    with pytest.raises(RuntimeError, match="shapes"):
        measuring.measure({**values, "lengths": [8]}, tmp_path)


def test_limits_are_foreseen() -> None:
    values = {"time_limit": 10, "memory_limit": 2}
    points = [
        {"length": n, "seconds": n / 1000, "mebibytes": (n / 1000) ** 2} for n in (1000, 2000)
    ]
    assert measuring.would_exceed(points, 4000, values) is None
    assert measuring.would_exceed(points, 12000, values) == "about 12 s"
    slow = {"time_limit": 1000, "memory_limit": 2}
    assert measuring.would_exceed(points, 64000, slow) == "about 4 GiB"
    assert measuring.would_exceed(points[:1], 10**9, values) is None


def test_cells() -> None:
    cells = list_cells(ScalingConfig())
    assert len(cells) == len({cell.name for cell in cells})
    assert sum(cell.name.startswith("together") for cell in cells) == 9
    for cell in cells:
        if "2e" in cell.config["irreps"]:
            assert not cell.config["mixers"].keys() & {"se3_hyena", "cross_product"}
    sweeps = [cell for cell in cells if not cell.name.startswith("together")]
    assert {len(cell.config["mixers"]) for cell in sweeps} == {1}


def invented(values: dict[str, Any]) -> dict[str, Any] | None:
    """Times that grow linearly, attention's with the square; memory as well."""
    if values["pass"] == "force":
        return None
    result = {}
    for row in values["mixers"]:
        power = 1 if row == "query_key" else 2
        points = [
            {"length": n, "seconds": 1e-6 * n**power / 500 ** (power - 1), "mebibytes": n / 64}
            for n in values["lengths"]
            if row != "cross_product_dense" or n < 4000
        ]
        stopped = "about 90 GiB" if row == "cross_product_dense" else None
        result[row] = {"points": points, "stopped": stopped}
    return result


def test_tables_and_claims() -> None:
    rows = ["query_key", "attention", "cross_product_dense"]
    irreps = ["32x0e+32x1o", "32x0e+32x1o+32x2e"]
    config = ScalingConfig(rows=rows, irreps=irreps, together=[20000])
    report = made_up(STUDY, config, invented)
    text = scaling_report.render(report)
    assert "| `attention` | 800 ms, 312 MiB (40x) | 800 ms, 312 MiB (40x) | – |" in text
    assert "| the paper's attention, dense | about 90 GiB | about 90 GiB | – |" in text
    assert "**Force training" not in text  # nothing measured
    table = text.split("**Forward**, 32x0e+32x1o+32x2e:")[1].split("**")[0]
    assert "`attention`" in table and "paper" not in table
    claims = scaling_report.render_claims(report)
    assert "`attention` 40x the time, 1x the memory" in claims
    assert "dense does not run (about 90 GiB)" in claims
    assert "N^1.00 from 16,384 to 1,048,576 tokens" in claims
    assert "ahead of attention at every length measured" in claims
    head, _, forward, backward, force = scaling_report.render_short(report).splitlines()
    assert head == "| 20,000 tokens, 32x0e+32x1o | `query_key` | `attention` |"
    assert forward == "| forward | 20 ms, 312 MiB (1x) | 800 ms, 312 MiB (40x) |"
    assert force.endswith("| – | – |") and backward.startswith("| forward and backward |")


def test_context() -> None:
    linear = [{"length": n, "mebibytes": n / 100} for n in (1000, 4000)]
    assert scaling_report.context(linear, 1.0) == pytest.approx(102400)
    assert scaling_report.context(linear, 20 / 1024) == pytest.approx(2000)


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="forward, backward, force"):
        ScalingConfig(passes=["backwards"])
    with pytest.raises(ValueError, match="must grow"):
        ScalingConfig(lengths=[8, 4])
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no GPU"):
            STUDY.run(ScalingConfig(device="cuda"))
    with pytest.raises(ValueError, match="atention"):
        ScalingConfig(rows=["atention"])


def test_study(run_small: Any) -> None:
    small = {"rows": ["query_key", "attention"], "irreps": ["4x0e + 4x1o"], "passes": ["forward"]}
    report, page = run_small(STUDY, **small, lengths=[16, 64], together=[64])
    assert [cell["kind"] for cell in report["cells"]] == ["together", "sweep", "sweep"]
    for block in STUDY.blocks.values():
        assert block(report) in page
