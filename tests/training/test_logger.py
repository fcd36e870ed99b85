import json
from pathlib import Path

import pytest

from e3hyena.training import train
from e3hyena.training.resume import Checkpoints

pytest.importorskip("tensorboard")


class Killed(BaseException):
    """Ends a run as abruptly as Python can."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorboard about its own protobuf
def test_event_files_hold_the_learning_curve_once_also_after_an_interruption(tiny, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config, save, count = tiny(logger="tensorboard"), Checkpoints._save, 0

    def interrupted(self, trainer):
        nonlocal count
        count += 1
        if count > 5:
            raise Killed
        save(self, trainer)

    monkeypatch.setattr(Checkpoints, "_save", interrupted)
    with pytest.raises(Killed):
        train(config)
    monkeypatch.setattr(Checkpoints, "_save", save)
    train(config)
    folder = Path(config.output) / "model"
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    rows = json.loads((folder / "fit.json").read_text())["history"]
    for name in ("val_norm_mae", "train_loss", "lr"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert found == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows]


def test_wandb_gets_every_row_and_is_finished(tiny, monkeypatch):
    import lightning.pytorch.loggers as loggers

    from e3hyena.training.callbacks import logger

    class Fake:
        rows, finished = [], 0

        def __init__(self, save_dir, project, name):
            self.experiment = self

        def log_metrics(self, values, step):
            self.rows.append((step, values["train_loss"]))

        def save(self):
            pass

        def finalize(self, status):
            assert status == "success"

        def finish(self):
            Fake.finished += 1

    monkeypatch.setattr(loggers, "WandbLogger", Fake)
    _, kind, arguments = logger.LOGGERS["wandb"]
    monkeypatch.setitem(logger.LOGGERS, "wandb", ("json", kind, arguments))
    train(tiny(logger="wandb"))
    assert [step for step, _ in Fake.rows] == [3, 6, 9] and Fake.finished == 1
