"""The comparison of cost: its limits, its report, its command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.experiments import scaling_cell, scaling_report
from benchmarks.experiments.scaling import PASSES, ROWS, Config, list_cells
from benchmarks.harness.documents import read_block

from e3hyena.cli import main

from .conftest import as_words

TINY = {"irreps": "4x0e + 4x1o", "memory_limit": 1.0, "time_limit": 60.0}
HERE = {"threads": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def keep_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("row", ROWS)
def test_every_row_runs_every_pass(row: str, name: str, tmp_path) -> None:
    values = {**TINY, **HERE, "mixers": {row: ROWS[row].mixer}, "pass": name, "rounds": 2}
    result = scaling_cell.measure({**values, "lengths": [8, 24]}, tmp_path)[row]
    assert result["stopped"] is None
    assert [point["length"] for point in result["points"]] == [8, 24]
    assert all(point["seconds"] > 0 for point in result["points"])


@pytest.mark.parametrize("name", ["backward", "force"])
@pytest.mark.parametrize("row", ROWS)
def test_passes_differentiate(row: str, name: str) -> None:
    operator = scaling_cell.build_operator("4x0e + 4x1o", ROWS[row].mixer)
    scaling_cell.pass_of(operator, name, 12)()
    gradients = [weight.grad for weight in operator.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


def test_force_is_the_gradient_of_squared_forces() -> None:
    operator = scaling_cell.build_operator("2x0e + 2x1o", "query_key").double()
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(1)
        scaling_cell.pass_of(operator, "force", 6)()
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
    result = scaling_cell.measure(values, tmp_path)
    assert "0.125 GiB" in result["cross_product_dense"]["stopped"]
    assert [p["length"] for p in result["cross_product_dense"]["points"]] == [64]
    assert [p["length"] for p in result["query_key"]["points"]] == [64, 2048]


def test_other_errors_are_not_taken_for_a_limit(tmp_path, monkeypatch) -> None:
    def broken(*_: Any) -> Any:
        def call() -> None:
            raise RuntimeError("shapes do not fit")

        return call

    monkeypatch.setattr(scaling_cell, "pass_of", broken)
    values = {**TINY, **HERE, "mixers": {"filter": "filter"}, "pass": "forward", "rounds": 1}
    with pytest.raises(RuntimeError, match="shapes"):
        scaling_cell.measure({**values, "lengths": [8]}, tmp_path)


def test_limits_are_foreseen() -> None:
    values = {"time_limit": 10, "memory_limit": 2}
    points = [
        {"length": n, "seconds": n / 1000, "mebibytes": (n / 1000) ** 2} for n in (1000, 2000)
    ]
    assert scaling_cell.would_exceed(points, 4000, values) is None
    assert scaling_cell.would_exceed(points, 12000, values) == "about 12 s"
    slow = {"time_limit": 1000, "memory_limit": 2}
    assert scaling_cell.would_exceed(points, 64000, slow) == "about 4 GiB"
    assert scaling_cell.would_exceed(points[:1], 10**9, values) is None


def test_cells() -> None:
    cells = list_cells(Config())
    assert len(cells) == len({cell.name for cell in cells})
    assert sum(cell.name.startswith("together") for cell in cells) == 9
    for cell in cells:
        if "2e" in cell.config["irreps"]:
            assert not cell.config["mixers"].keys() & {"se3_hyena", "cross_product"}
    sweeps = [cell for cell in cells if not cell.name.startswith("together")]
    assert {len(cell.config["mixers"]) for cell in sweeps} == {1}


def made_up_report() -> dict[str, Any]:
    """Times that grow linearly, attention's with the square; memory as well."""
    config = Config(rows=["query_key", "attention", "cross_product_dense"], together=[20000])
    config.irreps = config.irreps[:2]
    done = {}
    for cell in list_cells(config):
        if cell.config["pass"] == "force":
            continue
        result = {}
        for row in cell.config["mixers"]:
            power = 1 if row == "query_key" else 2
            points = [
                {"length": n, "seconds": 1e-6 * n**power / 500 ** (power - 1), "mebibytes": n / 64}
                for n in cell.config["lengths"]
                if row != "cross_product_dense" or n < 4000
            ]
            stopped = "about 90 GiB" if row == "cross_product_dense" else None
            result[row] = {"points": points, "stopped": stopped}
        machine = {"cpu": "abacus", "torch": "0"}
        done[cell.name] = {"config": cell.config, "environment": machine, "result": result}
    labels = {row: ROWS[row].label for row in config.rows}
    return scaling_report.collect(dataclasses.asdict(config), labels, done)


def test_tables_and_claims() -> None:
    report = made_up_report()
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


def test_context_and_crossover() -> None:
    linear = [{"length": n, "mebibytes": n / 100} for n in (1000, 4000)]
    assert scaling_report.context(linear, 1.0) == pytest.approx(102400)
    assert scaling_report.context(linear, 20 / 1024) == pytest.approx(2000)
    square = {"points": [{"length": n, "seconds": (n / 2e3) ** 2} for n in (1000, 4000, 16000)]}
    found = {"query_key": {"points": [{**p, "seconds": 1.0} for p in square["points"]]}}
    assert scaling_report.crossover({**found, "attention": square}, "query_key") == 4000


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="forward, backward, force"):
        Config(passes=["backwards"])
    with pytest.raises(ValueError, match="must grow"):
        Config(lengths=[8, 4])
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no GPU"):
            Config(device="cuda")
    with pytest.raises(ValueError, match="atention"):
        Config(rows=["atention"])


@pytest.mark.slow
def test_command(page, tmp_path, capsys) -> None:
    config = Config(
        output=str(tmp_path / "scaling"),
        rows=["query_key", "attention"],
        irreps=["4x0e + 4x1o"],
        passes=["forward"],
        lengths=[16, 64],
        together=[64],
        threads=1,
        documents=[str(page)],
    )
    assert main(["experiment", "scaling", *as_words(config)]) == 0
    assert "3/3" in capsys.readouterr().out
    report = json.loads(Path(config.output, "scaling.json").read_text())
    assert read_block(page, "scaling") == scaling_report.render(report)
    assert read_block(page, "scaling_claims") == scaling_report.render_claims(report)
    assert Path(config.output, "scaling.png").read_bytes().startswith(b"\x89PNG")
