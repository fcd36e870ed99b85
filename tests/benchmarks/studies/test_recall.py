"""The comparison on associative recall: its cells, its report, a whole run."""

import json
from typing import Any

import pytest
import torch
from benchmarks.data.recall import Recall
from benchmarks.studies.recall import (
    PARTS,
    ROWS,
    STUDY,
    RecallConfig,
    list_cells,
    list_variants,
    training,
)
from benchmarks.studies.recall.report import render

from .conftest import made_up

# Two networks, one length, three steps.
SMALL: dict[str, Any] = {
    "parts": ["random"],
    "rows": ["query_key", "attention"],
    "extension_rows": ["query_key"],
    "lengths": [8],
    "long_lengths": [16],
    "vocabularies": [8],
    "tensor_lengths": [8],
    "ablation_rows": ["query_key"],
    "ablation_length": 8,
    "ablation_steps": 3,
    "trained_length": 8,
    "tested_lengths": [4, 16],
    "seeds": [0],
    "irreps": "4x0e + 4x1o",
    "num_blocks": 1,
    "steps": 3,
    "tokens_per_step": 64,
}


def small(**options: Any) -> RecallConfig:
    return RecallConfig(**{**SMALL, **options})


class Answers(torch.nn.Module):
    """Always the same answer."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return torch.full((len(x), 3), self.answer)


def test_error_is_the_mean_over_components() -> None:
    data = Recall("test", length=8)
    y = data.batch(list(range(200))).y
    assert training.test(Answers(0.0), data) == pytest.approx(float(y.square().mean()))
    assert training.test(Answers(1.0), data) == pytest.approx(float((y - 1).square().mean()))


def test_cells_cover_what_the_paper_and_its_extensions_need() -> None:
    cells = list_cells(RecallConfig(seeds=[0, 1]))
    assert len(cells) == len({cell.name for cell in cells})
    seeds = [cell.config["seed"] for cell in cells]
    assert seeds == sorted(seeds)
    random = {c.config["length"] for c in cells if c.config["row"] == "query_key"}
    assert random == {32, 64, 128, 256, 4096}
    assert {c.config["vocabulary"] for c in cells} == {4, 8, 16, 32, 64}
    assert {c.config["degree"] for c in cells} == {1, 2}
    longest = [c.config for c in cells if c.config["variant"] == "long"]
    assert all(c["trained"] == c["tested"] == [2**n for n in range(6, 13)] for c in longest)
    assert {c["row"] for c in longest} == set(RecallConfig().extension_rows)
    tested = [c.config for c in cells if c.config["tested"] and not c.config["variant"]]
    assert {(c["kind"], c["length"], c["vocabulary"], c["degree"]) for c in tested} == {
        ("random", 128, 4, 1)
    }
    assert "1x2e" not in cells[0].config["irreps"]
    assert any("16x2e" in cell.config["irreps"] for cell in cells)


def test_lgatr_has_a_learning_rate_of_its_own() -> None:
    config = small(rows=["query_key", "lgatr"], lgatr_lr=0.002)
    rates = {cell.config["row"]: cell.config["lr"] for cell in list_cells(config)}
    assert rates == {"query_key": 0.01, "lgatr": 0.002}
    report = report_of(config, {("lgatr", 8): 0.25})
    assert "learning rate 0.01 (LGATr-slim 0.002);" in render(report)
    report = report_of(small(), {("query_key", 8): 0.25})
    assert "learning rate 0.01;" in render(report)


def test_parts_share_cells() -> None:
    options = {"seeds": [0], "rows": ["attention"], "extension_rows": ["attention"]}
    one = list_cells(RecallConfig(parts=["random"], lengths=[64], **options))
    both = list_cells(
        RecallConfig(parts=["random", "vocabulary"], lengths=[64], vocabularies=[4], **options)
    )
    assert one == both


def test_twice_the_steps() -> None:
    options = {"seeds": [0], "lengths": [32, 64], "rows": ["query_key"]}
    short = list_cells(RecallConfig(parts=["random"], **options))[-1].config
    cells = list_cells(RecallConfig(parts=["twice"], ablation_rows=["query_key"], **options))
    changed = {"steps": 8000, "variant": "twice the steps"}
    assert [cell.config for cell in cells] == [{**short, **changed}]


def test_variants_change_one_thing_at_a_time() -> None:
    cells = list_cells(RecallConfig(parts=["ablation"], seeds=[0], ablation_rows=["filter"]))
    assert [cell.config["variant"] for cell in cells] == list(list_variants(RecallConfig()))
    first = cells[0].config
    assert first["steps"] == RecallConfig().ablation_steps and not first["tested"]
    for cell in cells[1:]:
        changed = {key for key in first if cell.config[key] != first[key]}
        assert len(changed) == 2 and "variant" in changed


def test_lengths_are_drawn_in_turn() -> None:
    torch.manual_seed(0)
    sets = [Recall("train", length=n) for n in (4, 16, 128)]
    batches = training._draw(sets, 64)
    shapes = {next(batches).x.shape for _ in range(30)}
    assert shapes == {(16, 5, 3), (4, 17, 3), (1, 129, 3)}


def test_validation_of_some_sequences() -> None:
    data = Recall("val", length=8)
    y = data.batch(list(range(5))).y
    some = training.test(Answers(0.0), data, tokens=40)
    assert some == pytest.approx(float(y.square().mean()))


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] * (i % 2)) for i, row in enumerate(ROWS)]
)
def test_every_row_trains(row: str, tmp_path) -> None:
    (cell,) = list_cells(small(rows=[row]))
    result = training.train(cell.config, tmp_path)
    assert 0 < result["mse"] < 100 and result["zero"] == pytest.approx(7 / 3, rel=0.2)
    assert result["by_length"].keys() == {"4", "16"}
    curve = json.loads((tmp_path / "curve.json").read_text())
    best = min(curve, key=lambda point: point["val"])
    assert len(curve) == 3 and result["best_step"] == best["step"]
    model = training.build(cell.config)
    model.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert training.test(model, Recall("val", length=8, seed=10**9)) == best["val"]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_trains(part: str, tmp_path) -> None:
    config = small(parts=[part], steps=1, ablation_steps=1, rows=["query_key"])
    for cell in list_cells(config):
        assert training.train(cell.config, tmp_path)["mse"] > 0


def test_the_seed_decides(tmp_path) -> None:
    config = list_cells(small())[0].config
    errors = [training.train({**config, "seed": seed}, tmp_path)["mse"] for seed in (0, 0, 1)]
    assert errors[0] == errors[1] != errors[2]


@pytest.mark.slow
def test_query_key_learns(tmp_path) -> None:
    config = small(irreps="8x0e + 8x1o", num_blocks=2, steps=1000, tokens_per_step=512)
    result = training.train(list_cells(config)[0].config, tmp_path)
    assert result["mse"] < 0.5 * result["zero"]


def report_of(config: RecallConfig, errors: dict[tuple[str, int], float]) -> dict[str, Any]:
    """By row and length."""

    def invented(values: dict[str, Any]) -> dict[str, Any] | None:
        task = values["row"], values["length"]
        by_length = {str(length): 0.125 for length in values["tested"]}
        measured = {"zero": 2.0, "by_length": by_length, "parameters": 1000, "seconds": 90.0}
        return {"mse": errors[task], **measured} if task in errors else None

    return made_up(STUDY, config, invented)


def test_tables() -> None:
    config = small(
        parts=["random", "twice", "long", "vocabulary", "ablation"],
        lengths=[8, 256],
        rows=["query_key", "attention", "filter"],
    )
    errors = {("query_key", 8): 0.5, ("attention", 8): 0.25, ("query_key", 64): 0.5}
    errors["query_key", 256] = 0.375
    errors["query_key", 16] = 0.75  # the longest, of the part long
    text = render(report_of(config, errors))
    lines = text.splitlines()
    assert "| `query_key` | 0.50000 | 0.37500 | 1,000 | 1.5 |" in lines
    assert "| `attention` | 0.25000 | – | 1,000 | 1.5 |" in lines
    assert "| `filter` | – | – | – | – |" in lines
    assert "| SE(3)-Hyena, published | – | 0.0022 |  |  |" in lines
    assert "| predicting zero | 2.00 | 2.00 |  |  |" in lines
    assert "| `query_key` | 0.37500 | 0.37500 |" in lines, "twice the steps"
    assert "| `query_key` | 0.25000 |" in lines, "vocabulary of 8 relative to predicting zero"
    assert "| `query_key` | 0.12500 | 0.12500 |" in lines, "tested at other lengths"
    assert text.count("| `query_key` | 0.12500 |") == 2, "long, with one length; at other lengths"
    assert "| no short convolution | 0.5000 |" in lines
    assert "| l = 2 as well | 0.5000 |" in lines
    assert text.count("Not measured yet.") == 2  # fixed, tensor
    assert "one seed" in text and "the mean of all tokens" in text


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="'atention' is unknown"):
        RecallConfig(rows=["atention"])
    with pytest.raises(ValueError, match="'short' is unknown"):
        RecallConfig(parts=["short"])
    with pytest.raises(ValueError, match="does not parse"):
        RecallConfig(irreps="abc")
    with pytest.raises(ValueError, match="steps=0 must be positive"):
        RecallConfig(steps=0)
    with pytest.raises(ValueError, match="length 33 is odd"):
        RecallConfig(lengths=[33])


def test_study(run_small: Any) -> None:
    report, page = run_small(STUDY, **SMALL)
    assert [cell["best_step"] in (1, 2, 3) for cell in report["cells"]] == [True, True]
    assert report["labels"].keys() == {"query_key", "attention"}
    assert render(report) in page
