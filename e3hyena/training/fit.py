"""One training of one network, continued if it was interrupted."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from e3hyena import __version__
from e3hyena._extras import require
from e3hyena.models import HyenaNet
from e3hyena.training.best import KeepBest
from e3hyena.training.checkpoint import ModelInfo
from e3hyena.training.clock import Clock
from e3hyena.training.config import TrainConfig
from e3hyena.training.device import device_of
from e3hyena.training.ema import WeightAverage
from e3hyena.training.files import read_json, write_json
from e3hyena.training.history import History
from e3hyena.training.module import ForceRegression, Regression
from e3hyena.training.molecules import EvalLoader, Molecules, TrainLoader
from e3hyena.training.progress import Progress
from e3hyena.training.resume import CheckedFiles, Checkpoints, resumable
from e3hyena.training.scaling import Scaling
from e3hyena.training.tasks import model_arguments, task_of
from e3hyena.training.tensorboard import TensorBoard

pl: Any = require("lightning.pytorch", "train")

__all__ = ["Fit", "build_model", "fit"]


class Fit(NamedTuple):
    """What one training leaves.

    Attributes
    ----------
    model : Path
        The model file with the best weights.
    history : list of dict
        Rows of ``metrics.csv``.
    seconds : float
        Time spent training, validations included (seconds).
    parameters : int
        Number of weights.
    """

    model: Path
    history: list[dict[str, float]]
    seconds: float
    parameters: int


def build_model(config: TrainConfig, *, mixer: bool = True) -> HyenaNet:
    """The network of a run, with initial weights that depend on its seed alone.

    Parameters
    ----------
    config : TrainConfig
    mixer : bool
        False: the same network without the global mixer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return HyenaNet(**_arguments(config, mixer))  # type: ignore[arg-type]


def _arguments(config: TrainConfig, mixer: bool) -> dict[str, object]:
    model = config.model if mixer else replace(config.model, mixer=None)
    return model_arguments(replace(config, model=model))


def fit(
    config: TrainConfig,
    train: Molecules,
    val: Molecules,
    scaling: Scaling,
    folder: Path,
    *,
    title: str,
    mixer: bool = True,
) -> Fit:
    """Train one network, or continue, or return at once what a finished training left.

    Parameters
    ----------
    config : TrainConfig
    train, val : Molecules
        With labels in the property's unit.
    scaling : Scaling
    folder : Path
        Existing folder for ``last.ckpt``, ``metrics.csv``, ``model.pt`` and ``fit.json``.
    title : str
        Name of this training on the terminal.
    mixer : bool
        False: without the global mixer.

    Returns
    -------
    fit : Fit
    """
    done = folder / "fit.json"
    if done.exists():
        earlier = read_json(done, *Fit._fields[1:])
        return Fit(folder / "model.pt", *(earlier[name] for name in Fit._fields[1:]))
    optim, task, model = config.optim, task_of(config), build_model(config, mixer=mixer)
    loader = TrainLoader(_scaled(train, scaling), optim.batch_size, config.seed)
    limit = None if config.max_minutes is None else 60 * config.max_minutes
    clock = Clock(optim.epochs * len(loader), limit)
    history = History(folder / "metrics.csv", clock)
    average = WeightAverage(optim.ema_decay)
    info = ModelInfo(
        task=task,
        scaling=scaling,
        elements=train.z.unique().tolist(),
        model_kwargs=_arguments(config, mixer),
        config=config.to_dict(),
        version=__version__,
    )
    callbacks = [
        average,
        clock,
        history,
        KeepBest(folder / "model.pt", info, history, average),
        *([TensorBoard(folder / "tensorboard", history)] if config.tensorboard else []),
        Progress(title, clock, history, optim.epochs),
        Checkpoints(folder / "last.ckpt", config.checkpoint_minutes, loader),
    ]
    with _quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=optim.epochs,
            accelerator=device_of(config.accelerator),
            devices=1,
            callbacks=callbacks,
            plugins=[CheckedFiles()],
            gradient_clip_val=optim.grad_clip or None,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=not task.has_forces,  # a validation of forces differentiates
            default_root_dir=folder,
        )
        regression = ForceRegression if task.has_forces else Regression
        trainer.fit(
            regression(model, task, float(scaling.scale), optim, clock),
            loader,
            EvalLoader(_scaled(val, scaling), optim.batch_size),
            ckpt_path=resumable(folder / "last.ckpt"),
            weights_only=True,
        )
    result: dict[str, Any] = {
        "history": history.rows,
        "seconds": clock.seconds,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }
    write_json(done, result)
    return Fit(folder / "model.pt", **result)


def _scaled(molecules: Molecules, scaling: Scaling) -> Molecules:
    label = scaling.to_output(molecules.label, molecules.z, molecules.batch)
    force = molecules.force
    if force is not None:
        force = force / scaling.scale.to(force.dtype)
    return molecules._replace(label=label, force=force)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes about the machine off the terminal; its warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
