"""One training of one network, continued if it was interrupted."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from e3hyena import __version__
from e3hyena._extras import require
from e3hyena.training.callbacks.best import KeepBest
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.callbacks.ema import WeightAverage
from e3hyena.training.callbacks.history import History
from e3hyena.training.callbacks.logger import Log
from e3hyena.training.callbacks.progress import Progress
from e3hyena.training.checkpoint import ModelInfo
from e3hyena.training.files import read_json, write_json
from e3hyena.training.module import ForceRegression, PartsRegression, Regression
from e3hyena.training.molecules import EvalLoader, Molecules, TrainLoader
from e3hyena.training.padding import PaddedLoader
from e3hyena.training.parts import labels_of, to_labels
from e3hyena.training.plan import Plan
from e3hyena.training.processes import Share, in_processes, placed
from e3hyena.training.resume import CheckedFiles, Checkpoints, resumable
from e3hyena.training.scaling import Scaling

pl: Any = require("lightning.pytorch", "train")


class Fit(NamedTuple):
    """The model file with the best weights, rows of ``metrics.csv``, seconds, number of weights."""

    model: Path
    history: list[dict[str, float]]
    seconds: float
    parameters: int


def fit(
    plan: Plan,
    train: Molecules,
    val: Molecules,
    scaling: Scaling,
    folder: Path,
    *,
    steps: int | None = None,
) -> Fit:
    """Train one network, or continue, or return at once what a finished training left."""
    done = folder / "fit.json"
    if done.exists():
        earlier = read_json(done, *Fit._fields[1:])
    if done.exists() and (not plan.config.extend or earlier["history"][-1]["epoch"] >= plan.epochs):
        return Fit(folder / "model.pt", *(earlier[name] for name in Fit._fields[1:]))
    in_processes(plan.config, _train, plan, train, val, scaling, folder, steps)
    return Fit(folder / "model.pt", **read_json(done, *Fit._fields[1:]))


def _train(
    plan: Plan, train: Molecules, val: Molecules, scaling: Scaling, folder: Path,
    steps: int | None, share: Share,
) -> None:  # fmt: skip
    """What a process does: its share of every batch. The first one writes."""
    config, task, model = plan.config, plan.task, plan.build_model()
    optim = config.optim
    scaled, parts = _scaled(train, plan, scaling), _has_parts(train, plan) or _has_parts(val, plan)
    loader = TrainLoader(scaled, optim.batch_size, config.seed, share)
    if config.capture:
        if parts or train.cell is not None:
            what = "labels that are missing" if parts else "periodic cells"
            raise ValueError(f"capture with {what} is not possible; leave capture out")
        loader = PaddedLoader(scaled, optim.batch_size, config.seed, model.cutoff)
    limit = None if config.max_minutes is None or steps else 60 * config.max_minutes
    total = steps or plan.epochs * len(loader)
    clock = Clock(total, limit, min(total, optim.epochs * len(loader)))
    epochs = -(-total // len(loader))
    history = History(folder / "metrics.csv", clock)
    average = WeightAverage(optim.ema_decay)
    info = ModelInfo(
        task=task,
        scaling=scaling,
        elements=sorted(
            {*train.z.unique().tolist(), *(plan.start[1].elements if plan.start else [])}
        ),
        model_kwargs=plan.model,
        config=config.to_dict(),
        version=__version__,
    )
    shown = [
        KeepBest(folder / "model.pt", info, history, average),
        *([Log(config.logger, folder, history)] if config.logger else []),
        Progress(plan.title, clock, history, epochs),
    ]
    callbacks = [
        *(average, clock, history, *(shown if share.rank == 0 else ())),
        Checkpoints(folder / "last.ckpt", config.checkpoint_minutes, loader, clock),
    ]
    with _quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=epochs,
            **placed(config, plan.device),
            use_distributed_sampler=False,
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
        if parts:
            regression = PartsRegression
        trainer.fit(
            regression(model, task, scaling, optim, clock, share),
            loader,
            EvalLoader(_scaled(val, plan, scaling), optim.batch_size, share),
            ckpt_path=resumable(folder / "last.ckpt"),
            weights_only=True,
        )
    result: dict[str, Any] = {
        "history": history.rows,
        "seconds": clock.seconds,
        "parameters": sum(weight.numel() for weight in model.parameters()),
    }
    if share.rank == 0:
        write_json(folder / "fit.json", result)
    trainer.strategy.barrier()  # no other machine reads it earlier


def _has_parts(molecules: Molecules, plan: Plan) -> bool:
    """Several properties, or of atoms, or labels that are missing."""
    return bool(plan.task.parts or plan.task.per_atom or molecules.label.isnan().any())


def _scaled(molecules: Molecules, plan: Plan, scaling: Scaling) -> Molecules:
    if _has_parts(molecules, plan):
        labels = labels_of(plan.task, molecules.label, molecules.atom_label)
        values = to_labels(plan.task, scaling, labels, molecules.z, molecules.batch)
        return molecules._replace(label=values[0], atom_label=values[1])
    label = scaling.to_output(molecules.label, molecules.z, molecules.batch)
    force, stress = (
        None if value is None else value / scaling.scale.to(value.dtype)
        for value in (molecules.force, molecules.stress)
    )
    return molecules._replace(label=label, force=force, stress=stress)


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
