"""A training run from configuration to final table."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from e3hyena._extras import require
from e3hyena.training.checkpoint import load_model
from e3hyena.training.config import TrainConfig
from e3hyena.training.device import cpu_threads
from e3hyena.training.evaluate import evaluate, guess_errors
from e3hyena.training.files import (
    atomic_path,
    check_writable,
    exclusive,
    read_json,
    write_json,
    write_text,
)
from e3hyena.training.load import load_split, scaling_of
from e3hyena.training.model_card import render_card
from e3hyena.training.plan import Plan, resolve
from e3hyena.training.plots import plot_learning_curve, plot_parity
from e3hyena.training.processes import node
from e3hyena.training.report import environment, render_table
from e3hyena.training.tasks import metric_labels


def train(config: TrainConfig) -> dict[str, Any]:
    """Train, evaluate, and write everything into ``config.output``.

    The folder receives ``config.yaml``, ``model.pt`` (for `load_model` and ``e3hyena predict``),
    ``MODEL_CARD.md``, ``results.json``, ``table.md``, ``learning_curve.png``, ``parity.png`` and a
    folder per training with its ``metrics.csv`` and ``last.ckpt``. Called again with the same
    folder and configuration, it continues where it was interrupted; a finished run is only
    reported, or trained longer where ``config.extend`` is larger than it was.

    Parameters
    ----------
    config : TrainConfig

    Returns
    -------
    results : dict
        Content of ``results.json``: errors on the test set of the network, of the same network
        without its mixer if asked for, and of the mean predictor, with timing, versions, machine.

    Raises
    ------
    ValueError
        If the configuration does not hold, or the folder holds another run.
    OSError
        If the folder cannot be written to.
    ImportError
        If the extra ``train`` is not installed.

    Examples
    --------
    >>> from e3hyena.training import TrainConfig, train
    >>> results = train(TrainConfig(output="runs/first"))  # doctest: +SKIP
    """
    require("lightning.pytorch", "train")
    require("matplotlib.figure", "train")
    plan = resolve(config)
    for training in plan.trainings.values():
        training.build_model()  # a wrong option shows now, before anything is written
    output = _prepare(config)
    if (output / "results.json").exists():
        keys = ("task", "mixer", "test_size", "rows", "config")
        results = read_json(output / "results.json", *keys)
        if results["config"].get("extend", 0) == config.extend:
            longer = f"--config {output / 'config.yaml'} --extend EPOCHS"
            if config.max_minutes is not None:
                longer = f"--init {output}, with the same options and another --output"
            print(
                f"this run is finished:\n\n{render_table(results)}\n\n"
                f"to train longer: e3hyena train {longer}"
            )
            return results
    alone = exclusive(output) if node(config) == 0 else nullcontext()
    with alone, cpu_threads(config.threads):
        return _run(plan, output)


def _run(plan: Plan, output: Path) -> dict[str, Any]:
    """Load, train what is not trained yet, evaluate, write."""
    from e3hyena.training.fit import fit

    config, task, device = plan.config, plan.task, plan.device
    parts = {split: load_split(config.data, task, split) for split in ("train", "val", "test")}
    if not node(config):
        config.save(output / "config.yaml")
    for name in plan.trainings:
        (output / name).mkdir(exist_ok=True)
    molecules, test = parts["train"], parts["test"]
    scaling = scaling_of(plan, molecules)
    guess = guess_errors(task, scaling, molecules, test)
    labels = metric_labels(task)
    metric = next(iter(labels))
    sizes = ", ".join(f"{part.num_graphs:,} {split}" for split, part in parts.items())
    print(f"{config.task} of {sizes} molecules ({config.data.source}), on {device}")
    print(f"mean predictor: {guess[metric]:.4g} {labels[metric]}", flush=True)

    rows: dict[str, Any] = {}
    histories, steps = {}, None
    for name, training in plan.trainings.items():
        done = fit(training, molecules, parts["val"], scaling, output / name, steps=steps)
        steps = int(done.history[-1]["step"])  # of what is compared with it, too
        if node(config):
            continue
        model, info = load_model(done.model)
        errors, panels = evaluate(model, info, test, device=device)
        rows[name] = {
            "test": errors,
            "ratio": guess[metric] / errors[metric],
            "parameters": done.parameters,
            "seconds": done.seconds,
            "epochs": len(done.history),
            "steps": steps,
        }
        histories[training.title] = done.history
        if name == "model":
            plot_parity(output / "parity.png", panels)
            with atomic_path(output / "model.pt") as temporary:
                temporary.write_bytes(done.model.read_bytes())
    if node(config):
        return {}
    rows["mean_predictor"] = {"test": guess, "ratio": 1.0}
    plot_learning_curve(output / "learning_curve.png", task, histories, guess[metric])
    results = {
        "task": config.task,
        "unit": task.unit,
        "target": task.to_dict(),
        "label": task.description,
        "mixer": config.model.mixer,
        "metric": metric,
        **{f"{split}_size": part.num_graphs for split, part in parts.items()},
        "rows": rows,
        **environment(device),
        "config": config.to_dict(),
    }
    write_text(output / "table.md", render_table(results) + "\n")
    write_text(output / "MODEL_CARD.md", render_card(results))
    write_json(output / "results.json", results)  # last: it marks the run as finished
    print(f"\n{render_table(results)}\n")
    for name in (
        *("model.pt", "MODEL_CARD.md", "results.json", "table.md"),
        *("learning_curve.png", "parity.png"),
    ):
        print(f"written: {output / name}")
    return results


def _prepare(config: TrainConfig) -> Path:
    """The output folder: writable, and empty or of the same run."""
    output = Path(config.output)
    earlier = output / "config.yaml"
    if earlier.is_file():
        theirs = TrainConfig.load(earlier)
        finished = (output / "results.json").exists()
        if finished and config.extend > theirs.extend:
            theirs = replace(theirs, extend=config.extend)
        if found := config.differences(theirs):
            what = "train that one longer" if finished else "continue that one"
            raise ValueError(
                f"the folder {config.output!r} holds a {'finished ' if finished else ''}run with "
                f"other options ({'; '.join(found)}): choose another output folder, or {what} with "
                f"`e3hyena train --config {earlier}{' --extend EPOCHS' if finished else ''}`"
            )
    elif output.is_dir() and any(not file.name.startswith(".") for file in output.iterdir()):
        raise ValueError(
            f"the folder {config.output!r} is not empty and holds no run to continue: "
            "choose another output folder"
        )
    return check_writable(output)
