"""A run so small that training takes a second, and one that is finished."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from e3hyena.training import DataConfig, ModelConfig, OptimConfig, TrainConfig, plots, run, train

PLOTS = ("plot_learning_curve", "plot_parity")
STEPS_PER_EPOCH = 3
EPOCHS = 3


def tiny_config(output: Path, **changes: Any) -> TrainConfig:
    """3 epochs of 3 steps, 20 molecules; a checkpoint after every step."""
    config = TrainConfig(
        output=str(output),
        checkpoint_minutes=0.0,
        accelerator="cpu",
        data=DataConfig(train_size=20, val_size=6, test_size=6),
        model=ModelConfig(irreps_hidden="4x0e + 4x1o", num_layers=1),
        optim=OptimConfig(epochs=EPOCHS, batch_size=8),
    )
    return replace(config, **changes)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., TrainConfig]:
    """`tiny_config` in a folder of the test."""
    return lambda name="run", **changes: tiny_config(tmp_path / name, **changes)


@pytest.fixture(scope="module", autouse=True)
def quick_plots() -> Iterator[None]:
    """Drawing takes as long as a small training: only the run `finished` draws."""
    with pytest.MonkeyPatch.context() as patch:
        for name in PLOTS:
            patch.setattr(run, name, lambda path, *_: path.write_bytes(b""))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run with comparison. Tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as drawn:
        # lightning, once per process
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        for name in PLOTS:
            drawn.setattr(run, name, getattr(plots, name))
        train(tiny_config(folder, compare_without_mixer=True))
    return folder
