import csv
import errno
import itertools
import json
import os
from pathlib import Path

import pytest
import torch

from e3hyena.training import ModelConfig, OptimConfig, TrainConfig, files, load_model, train
from e3hyena.training.callbacks.history import History
from e3hyena.training.files import read_json
from e3hyena.training.module import Regression
from e3hyena.training.resume import Checkpoints

from .conftest import EPOCHS, STEPS_PER_EPOCH, tiny_config

OUTPUT = {
    "model.pt",
    "MODEL_CARD.md",
    "config.yaml",
    "results.json",
    "table.md",
    "learning_curve.png",
    "parity.png",
}


class Killed(BaseException):
    """Ends a run as abruptly as Python can."""


def weights(folder):
    return torch.load(folder / "model.pt", weights_only=True)["state_dict"]


def curve(folder):
    """The learning curve without the column that no two runs share."""
    rows = json.loads((folder / "model" / "fit.json").read_text())["history"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(finished):
    return finished


def test_a_run_leaves_its_files(finished):
    assert set(os.listdir(finished)) == OUTPUT | {"model", "without_mixer"}
    for name in ("learning_curve.png", "parity.png"):
        assert (finished / name).read_bytes().startswith(b"\x89PNG")
    for name in ("model", "without_mixer"):
        with open(finished / name / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == [3, 6, 9]
        assert set(os.listdir(finished / name)) == {
            "model.pt",
            "metrics.csv",
            "last.ckpt",
            "fit.json",
        }


def test_results_hold_errors_ratios_timing_versions_and_machine(finished):
    results = json.loads((finished / "results.json").read_text())
    rows = results["rows"]
    assert list(rows) == ["model", "without_mixer", "mean_predictor"]
    for row in rows.values():
        assert row["ratio"] == pytest.approx(
            rows["mean_predictor"]["test"]["norm_mae"] / row["test"]["norm_mae"]
        )
    assert rows["model"]["parameters"] > rows["without_mixer"]["parameters"]
    assert results["versions"]["torch"] == torch.__version__
    assert results["machine"]["device"] == "cpu"
    assert results["unit"] == "D" and results["train_size"] == 20
    config = TrainConfig.load(finished / "config.yaml")
    assert TrainConfig.from_dict(results["config"]) == config
    table = (finished / "table.md").read_text()
    assert f"{rows['model']['test']['norm_mae']:.4f}" in table and "mean predictor" in table


def test_the_model_file_holds_the_best_epoch(finished):
    """Its validation error, computed anew, is the smallest of the curve."""
    from e3hyena.data import QM9Extract
    from e3hyena.training.evaluate import predict_parts, summarise
    from e3hyena.training.molecules import Molecules

    model, info = load_model(finished)
    val = Molecules.from_dataset(QM9Extract("val"), info.task, 6, "data.val")
    found = summarise(info.task, predict_parts(model, info, val)[0], val.label)
    best = min(row["val_norm_mae"] for row in curve(finished))
    assert found["norm_mae"] == pytest.approx(best, rel=1e-4)


def test_a_finished_run_is_only_reported(finished, capsys, monkeypatch):
    monkeypatch.setattr(Regression, "training_step", None)
    config = TrainConfig.load(finished / "config.yaml")
    assert train(config) == read_json(finished / "results.json")
    assert "this run is finished" in capsys.readouterr().out


def test_the_seed_decides_the_result(tiny, uninterrupted):
    one = tiny("one")
    other = tiny("other", seed=1)
    train(one), train(other)
    assert curve(uninterrupted) == curve(Path(one.output))
    assert curve(uninterrupted) != curve(Path(other.output))


# In the middle of an epoch, at its end, and between the end and its checkpoint.
@pytest.mark.parametrize("saved", [1, 3, pytest.param(5, marks=pytest.mark.slow), 6])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_continued_run_equals_an_uninterrupted_one(tiny, uninterrupted, monkeypatch, saved, when):
    config = tiny()
    save, count = Checkpoints._save, 0

    def interrupted(self, trainer):
        nonlocal count
        count += 1
        if when == "before" and count > saved:
            raise Killed
        save(self, trainer)
        if when == "after" and count == saved:
            raise Killed

    monkeypatch.setattr(Checkpoints, "_save", interrupted)
    with pytest.raises(Killed):
        train(config)
    monkeypatch.setattr(Checkpoints, "_save", save)

    steps = []
    record = History.on_train_batch_end
    monkeypatch.setattr(
        History,
        "on_train_batch_end",
        lambda self, trainer, *rest: (steps.append(1), record(self, trainer, *rest))[1],
    )
    train(config)
    assert len(steps) == EPOCHS * STEPS_PER_EPOCH - saved, "more was lost than one interval"
    folder = Path(config.output)
    assert curve(folder) == curve(uninterrupted)
    mine, theirs = weights(folder), weights(uninterrupted)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_disk_that_is_full_for_a_while_loses_nothing(tiny, uninterrupted, monkeypatch):
    config, sync, count = tiny(), files._sync, 0

    def full(path):
        nonlocal count
        count += path.name.startswith(".last")
        if count > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(OSError, match=r"cannot write .*last\.ckpt' \(No space left.*is kept"):
        train(config)
    monkeypatch.setattr(files, "_sync", sync)
    train(config)
    mine, theirs = weights(Path(config.output)), weights(uninterrupted)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_damaged_checkpoint_is_named(tiny, tmp_path):
    config = tiny(optim=OptimConfig(epochs=1, batch_size=20))
    train(config)
    for name in ("results.json", "model/fit.json"):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / "model" / "last.ckpt").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"last\.ckpt' is damaged .* delete it"):
        train(config)


def test_a_folder_with_another_run_is_refused(tiny, finished):
    before = sorted((file, file.stat().st_mtime_ns) for file in finished.rglob("*"))
    with pytest.raises(ValueError, match=r"seed: 5, not 0.*choose another output folder"):
        train(tiny_config(finished, seed=5, compare_without_mixer=True))
    assert sorted((file, file.stat().st_mtime_ns) for file in finished.rglob("*")) == before


def test_a_folder_with_something_else_is_refused(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="not empty and holds no run"):
        train(tiny())
    assert os.listdir(tmp_path / "run") == ["thesis.tex"]


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"task": "dipol"}, ValueError),
        ({"model": ModelConfig(irreps_hidden="4xx0e")}, ValueError),
        ({"model": ModelConfig(mixer_options={"no_such_option": 1})}, TypeError),
    ],
)
def test_wrong_options_show_before_anything_is_written(tiny, tmp_path, changes, error):
    with pytest.raises(error):
        train(tiny(**changes))
    assert os.listdir(tmp_path) == []


def test_a_time_limit_ends_the_training_and_the_schedule(tiny, tmp_path, monkeypatch):
    """Every look at the clock takes a second, so that a step does too."""
    seconds = itertools.count()
    monkeypatch.setattr(
        "e3hyena.training.callbacks.clock.time.perf_counter", lambda: float(next(seconds))
    )
    config = tiny(max_minutes=1.0, optim=OptimConfig(epochs=500, batch_size=8))
    results = train(config)
    rows = curve(tmp_path / "run")
    assert 3 < len(rows) < 30
    assert rows[-1]["lr"] < 0.02 * max(row["lr"] for row in rows)
    assert results["rows"]["model"]["epochs"] == len(rows)
    assert results["rows"]["model"]["seconds"] == pytest.approx(60.0, abs=5.0)


def test_a_loss_that_is_not_finite_stops_the_run(tiny):
    with pytest.raises(ValueError, match=r"the loss became .* lower optim\.lr"):
        train(tiny(optim=OptimConfig(epochs=50, batch_size=8, lr=1e30, grad_clip=0, warmup=0.0)))


@pytest.mark.parametrize("task", ["gap", "U0"])
def test_scalars_are_learned_too(tiny, task):
    results = train(tiny(task=task))
    assert list(results["rows"]["model"]["test"]) == ["mae"]
    assert results["rows"]["mean_predictor"]["ratio"] == 1.0


def test_a_comparison_takes_as_many_steps_as_the_time_limit_left(tiny, tmp_path, monkeypatch):
    seconds = itertools.count()
    clock = "e3hyena.training.callbacks.clock.time.perf_counter"
    monkeypatch.setattr(clock, lambda: float(next(seconds)))
    optim = OptimConfig(epochs=500, batch_size=8)
    results = train(tiny(max_minutes=0.5, compare_without_mixer=True, optim=optim))
    rows = results["rows"]
    assert rows["model"]["steps"] == rows["without_mixer"]["steps"] > 3
    assert rows["model"]["epochs"] == rows["without_mixer"]["epochs"]
    lines = json.loads((tmp_path / "run/without_mixer/fit.json").read_text())["history"]
    assert lines[-1]["step"] == rows["model"]["steps"]
    assert lines[-1]["lr"] < 0.02 * max(row["lr"] for row in lines)
    assert f" {rows['model']['steps']} |" in (tmp_path / "run" / "table.md").read_text()
