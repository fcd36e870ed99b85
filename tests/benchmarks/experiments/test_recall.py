"""The comparison on associative recall: its cells, its report, its command."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.data.recall import Recall
from benchmarks.experiments import recall_cell, recall_report
from benchmarks.experiments.recall import PARTS, ROWS, Config, list_cells, list_variants, run
from benchmarks.harness.documents import read_block

from e3hyena.cli import main

from .conftest import as_words


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
    assert recall_cell.test(Answers(0.0), data) == pytest.approx(float(y.square().mean()))
    assert recall_cell.test(Answers(1.0), data) == pytest.approx(float((y - 1).square().mean()))


def test_cells_cover_what_the_paper_and_its_extensions_need() -> None:
    cells = list_cells(Config(seeds=[0, 1]))
    assert len(cells) == len({cell.name for cell in cells})
    seeds = [cell.config["seed"] for cell in cells]
    assert seeds == sorted(seeds)
    random = {c.config["length"] for c in cells if c.config["row"] == "query_key"}
    assert random == {32, 64, 128, 256, 4096}
    assert {c.config["vocabulary"] for c in cells} == {4, 8, 16, 32, 64}
    assert {c.config["degree"] for c in cells} == {1, 2}
    longest = [c.config for c in cells if c.config["variant"] == "long"]
    assert all(c["trained"] == c["tested"] == [2**n for n in range(6, 13)] for c in longest)
    assert {c["row"] for c in longest} == set(Config().extension_rows)
    tested = [c.config for c in cells if c.config["tested"] and not c.config["variant"]]
    assert {(c["kind"], c["length"], c["vocabulary"], c["degree"]) for c in tested} == {
        ("random", 128, 4, 1)
    }
    assert "1x2e" not in cells[0].config["irreps"]
    assert any("16x2e" in cell.config["irreps"] for cell in cells)


def test_lgatr_has_a_learning_rate_of_its_own(sequence_recall) -> None:
    config = dataclasses.replace(sequence_recall, rows=["query_key", "lgatr"], lgatr_lr=0.002)
    rates = {cell.config["row"]: cell.config["lr"] for cell in list_cells(config)}
    assert rates == {"query_key": 0.01, "lgatr": 0.002}
    report = made_up_report(config, {("lgatr", 8): 0.25})
    assert "learning rate 0.01 (LGATr-slim 0.002);" in recall_report.render(report)
    without = dataclasses.replace(config, rows=["query_key"])
    report = made_up_report(without, {("query_key", 8): 0.25})
    assert "learning rate 0.01;" in recall_report.render(report)


def test_parts_share_cells() -> None:
    options = {"seeds": [0], "rows": ["attention"], "extension_rows": ["attention"]}
    one = list_cells(Config(parts=["random"], lengths=[64], **options))
    both = list_cells(
        Config(parts=["random", "vocabulary"], lengths=[64], vocabularies=[4], **options)
    )
    assert one == both


def test_twice_the_steps() -> None:
    options = {"seeds": [0], "lengths": [32, 64], "rows": ["query_key"]}
    short = list_cells(Config(parts=["random"], **options))[-1].config
    cells = list_cells(Config(parts=["twice"], ablation_rows=["query_key"], **options))
    changed = {"steps": 8000, "variant": "twice the steps"}
    assert [cell.config for cell in cells] == [{**short, **changed}]


def test_variants_change_one_thing_at_a_time() -> None:
    cells = list_cells(Config(parts=["ablation"], seeds=[0], ablation_rows=["filter"]))
    assert [cell.config["variant"] for cell in cells] == list(list_variants(Config()))
    first = cells[0].config
    assert first["steps"] == Config().ablation_steps and not first["tested"]
    for cell in cells[1:]:
        changed = {key for key in first if cell.config[key] != first[key]}
        assert len(changed) == 2 and "variant" in changed


def test_lengths_are_drawn_in_turn() -> None:
    torch.manual_seed(0)
    sets = [Recall("train", length=n) for n in (4, 16, 128)]
    shapes = {recall_cell._draw(sets, 64).x.shape for _ in range(30)}
    assert shapes == {(16, 5, 3), (4, 17, 3), (1, 129, 3)}


def test_validation_of_some_sequences() -> None:
    data = Recall("val", length=8)
    y = data.batch(list(range(5))).y
    some = recall_cell.test(Answers(0.0), data, tokens=40)
    assert some == pytest.approx(float(y.square().mean()))


@pytest.mark.parametrize("row", ROWS)
def test_every_row_trains(row: str, sequence_recall, tmp_path) -> None:
    (cell,) = list_cells(dataclasses.replace(sequence_recall, rows=[row]))
    result = recall_cell.train(cell.config, tmp_path)
    assert 0 < result["mse"] < 100 and result["zero"] == pytest.approx(7 / 3, rel=0.2)
    assert result["by_length"].keys() == {"4", "16"}
    curve = json.loads((tmp_path / "curve.json").read_text())
    best = min(curve, key=lambda point: point["val"])
    assert len(curve) == 3 and result["best_step"] == best["step"]
    model = recall_cell.build(cell.config)
    model.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert recall_cell.test(model, Recall("val", length=8, seed=10**9)) == best["val"]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_trains(part: str, sequence_recall, tmp_path) -> None:
    config = dataclasses.replace(
        sequence_recall, parts=[part], steps=1, ablation_steps=1, rows=["query_key"]
    )
    for cell in list_cells(config):
        assert recall_cell.train(cell.config, tmp_path)["mse"] > 0


def test_the_seed_decides(sequence_recall, tmp_path) -> None:
    config = list_cells(sequence_recall)[0].config
    errors = [recall_cell.train({**config, "seed": seed}, tmp_path)["mse"] for seed in (0, 0, 1)]
    assert errors[0] == errors[1] != errors[2]


@pytest.mark.slow
def test_query_key_learns(sequence_recall, tmp_path) -> None:
    config = dataclasses.replace(
        sequence_recall, irreps="8x0e + 8x1o", num_blocks=2, steps=1000, tokens_per_step=512
    )
    result = recall_cell.train(list_cells(config)[0].config, tmp_path)
    assert result["mse"] < 0.5 * result["zero"]


def made_up_report(config: Config, errors: dict[tuple[str, int], float]) -> dict[str, Any]:
    done = {
        cell.name: {
            "config": cell.config,
            "environment": {"cpu": "abacus", "torch": "0"},
            "result": {
                "mse": errors[cell.config["row"], cell.config["length"]],
                "zero": 2.0,
                "by_length": {str(length): 0.125 for length in cell.config["tested"]},
                "best_step": 1,
                "parameters": 1000,
                "seconds": 90.0,
            },
        }
        for cell in list_cells(config)
        if (cell.config["row"], cell.config["length"]) in errors
    }
    labels = {row: ROWS[row].label for row in config.rows}
    return recall_report.collect(dataclasses.asdict(config), labels, done)


def test_tables(sequence_recall) -> None:
    config = dataclasses.replace(
        sequence_recall,
        parts=["random", "twice", "long", "vocabulary", "ablation"],
        lengths=[8, 256],
        rows=["query_key", "attention", "filter"],
    )
    errors = {("query_key", 8): 0.5, ("attention", 8): 0.25, ("query_key", 64): 0.5}
    errors["query_key", 256] = 0.375
    errors["query_key", 16] = 0.75  # the longest, of the part long
    text = recall_report.render(made_up_report(config, errors))
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
        Config(rows=["atention"])
    with pytest.raises(ValueError, match="'short' is unknown"):
        Config(parts=["short"])
    with pytest.raises(ValueError, match="does not parse"):
        Config(irreps="abc")
    with pytest.raises(ValueError, match="steps=0 must be positive"):
        Config(steps=0)
    with pytest.raises(ValueError, match="length 33 is odd"):
        Config(lengths=[33])


@pytest.mark.parametrize("held", [None, "another block"])
def test_documents_are_read_before_anything_is_trained(held, sequence_recall, tmp_path) -> None:
    document = tmp_path / "page.md"
    if held:
        document.write_text(held)
    config = dataclasses.replace(sequence_recall, documents=[str(document)])
    with pytest.raises(ValueError, match=r"page\.md"):
        run(config)
    assert not Path(config.output).exists()


@pytest.mark.slow
def test_command_and_its_continuation(sequence_recall, page, capsys) -> None:
    config = dataclasses.replace(sequence_recall, documents=[str(page)], jobs=1, steps=1)
    words = ["experiment", "recall", *as_words(config)]
    assert main(words) == 0
    assert "2/2" in capsys.readouterr().out
    output = Path(config.output)
    report = json.loads((output / "recall.json").read_text())
    assert read_block(page, "recall") == recall_report.render(report)
    assert (output / "recall.png").read_bytes().startswith(b"\x89PNG")
    assert main(words) == 0
    assert "2 of 2 cells are done" in capsys.readouterr().out
