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

    config, save, count = tiny(tensorboard=True), Checkpoints._save, 0

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
