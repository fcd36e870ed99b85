"""Longer training of a finished run, and training from another's weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from e3hyena.training import ModelConfig, load_model, load_predictor, predict, train
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.files import read_json
from e3hyena.training.resume import Checkpoints

from .conftest import tiny_config


class Killed(BaseException):
    """Ends a run as abruptly as Python can."""


def rows_of(folder):
    rows = read_json(Path(folder) / "model" / "fit.json")["history"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_a_finished_run_is_trained_longer(tiny, capsys):
    config = tiny(compare_without_mixer=True)
    train(config)
    before = rows_of(config.output)
    train(config)
    assert "--extend EPOCHS" in capsys.readouterr().out
    longer = replace(config, extend=2)
    results = train(longer)
    assert {name: row.get("steps") for name, row in results["rows"].items()} == {
        "model": 15, "without_mixer": 15, "mean_predictor": None,
    }  # fmt: skip
    after = rows_of(config.output)
    assert after[:3] == before and [row["step"] for row in after] == [3, 6, 9, 12, 15]
    assert after[2]["lr"] < 1e-6 < after[3]["lr"], "the schedule begins once more"
    assert train(longer) == results
    with pytest.raises(ValueError, match=r"holds a finished run .*extend: 0, not 2"):
        train(config)


def test_a_run_with_a_time_limit_is_continued_from_its_weights(tiny, capsys):
    config = tiny(max_minutes=5.0)
    train(config)
    train(config)
    said = capsys.readouterr().out
    assert f"--init {config.output}" in said and "--extend" not in said


def test_an_interrupted_extension_continues(tiny, monkeypatch):
    one, other = tiny("one"), tiny("other")
    for config in (one, other):
        train(config)
    train(replace(one, extend=2))

    def interrupted(self, trainer):
        save(self, trainer)
        if trainer.global_step == 11:
            raise Killed

    save = Checkpoints._save
    monkeypatch.setattr(Checkpoints, "_save", interrupted)
    with pytest.raises(Killed):
        train(replace(other, extend=2))
    monkeypatch.setattr(Checkpoints, "_save", save)
    train(replace(other, extend=2))
    assert rows_of(one.output) == rows_of(other.output)


def test_other_options_cannot_change_on_the_way(tiny, finished):
    with pytest.raises(ValueError, match=r"train that one longer .*--extend EPOCHS"):
        train(tiny_config(finished, seed=5, extend=2, compare_without_mixer=True))
    with pytest.raises(ValueError, match="a training with a time limit is not extended"):
        tiny(extend=2, max_minutes=1.0)


def test_the_schedule_of_an_extension():
    clock = Clock(total_steps=15, first_steps=10)
    assert [clock.scheduled(step) for step in (0, 5, 10, 15)] == [0.0, 0.5, 0.0, 1.0]
    assert clock.scheduled(12.5) == 0.5 and clock.progress(12.0) == 0.8


@pytest.mark.parametrize("task", [pytest.param("dipole", marks=pytest.mark.slow), "U0"])
def test_a_training_starts_from_weights_and_scale_of_another(tiny, tmp_path, task):
    """At a learning rate of nothing, fine-tuning on the same molecules predicts the same."""
    first = tiny("first", task=task)
    train(first)
    again = tiny("again", task=task, init=first.output)
    again.optim.lr = 1e-12
    train(again)
    (model, info), (tuned, new) = load_model(first.output), load_model(again.output)
    for name, weight in model.state_dict().items():
        assert torch.allclose(tuned.state_dict()[name], weight, atol=1e-9)
    assert torch.equal(info.scaling.scale, new.scaling.scale)
    if task == "dipole":
        assert torch.equal(info.scaling.shift, new.scaling.shift)
    else:  # what remains of the training labels has no mean of any composition
        from e3hyena.training.load import load_split

        molecules = load_split(again.data, info.task, "train")
        missed = load_predictor(again.output)(molecules.z, molecules.pos, molecules.batch).detach()
        assert float((missed - molecules.label).mean()) == pytest.approx(0.0, abs=1e-2)


def test_weights_of_another_network_are_refused(tiny, finished, tmp_path):
    wide = ModelConfig(irreps_hidden="8x0e + 8x1o", num_layers=1)
    with pytest.raises(ValueError, match=r"do not fit .*irreps_hidden: '4x0e \+ 4x1o', not '8x0e"):
        train(tiny(model=wide, init=str(finished)))
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        train(tiny(init=str(tmp_path / "none.pt")))
    with pytest.raises(ValueError, match="compare two runs"):
        tiny(init=str(finished), compare_without_mixer=True)


def test_a_predictor_answers_in_units_and_differentiates(finished, finished_forces, tmp_path):
    path = tmp_path / "water.xyz"
    path.write_text("3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
    z = torch.tensor([8, 1, 1])
    pos = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], requires_grad=True)
    predictor = load_predictor(finished)
    value = predictor(torch.cat([z, z]), torch.cat([pos, pos]), torch.arange(6) // 3)
    assert predictor.task.unit == "D" and value.dtype == torch.float64
    expected = predict(finished, [path]).values
    torch.testing.assert_close(value.detach(), expected.expand(2, 3), atol=1e-5, rtol=1e-4)
    value.norm().backward()
    assert pos.grad.abs().max() > 0
    with pytest.raises(ValueError, match=r"elements \[14\] .* not in the training set"):
        predictor(torch.tensor([14]), torch.zeros(1, 3))

    found = predict(finished_forces, [path])
    energy, forces = load_predictor(finished_forces).energy_and_forces(z, pos.detach())
    torch.testing.assert_close(energy, found.values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(forces, found.forces[0], atol=1e-4, rtol=1e-4)
