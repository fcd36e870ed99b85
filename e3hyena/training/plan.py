"""What a configuration comes to: data set, target, network and device, determined once."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from e3hyena.data.catalogue import Entry
from e3hyena.data.targets import Target, combine
from e3hyena.models import HyenaNet
from e3hyena.registry import CATALOGUE, MIXERS
from e3hyena.training.checkpoint import ModelInfo, load_model
from e3hyena.training.config import TrainConfig
from e3hyena.training.device import device_of
from e3hyena.training.tasks import get_task


@dataclass(frozen=True)
class Plan:
    """All that a training needs to know; made by `resolve`.

    `config` is what was asked for; `task` is in the unit of the data; `model` are arguments of
    `HyenaNet`, numbers, strings and None only; `start` is the trained network to begin with.
    """

    config: TrainConfig
    entry: Entry
    task: Target
    model: dict[str, Any]
    device: str
    start: tuple[HyenaNet, ModelInfo] | None = None

    def __reduce__(self) -> Any:
        """Another process resolves the configuration anew: data sets hold functions."""
        return _rebuilt, (self.config, self.model)

    @property
    def epochs(self) -> int:
        """Passes over the training set, an extension included."""
        return self.config.optim.epochs + self.config.extend

    @property
    def title(self) -> str:
        """Name of the network on the terminal and in plots."""
        return f"{self.model['mixer']} mixer" if self.model["mixer"] else "without mixer"

    @property
    def trainings(self) -> "dict[str, Plan]":
        """What is trained, by the name of its folder: the network, and itself without mixer."""
        compare = self.config.compare_without_mixer and self.model["mixer"] is not None
        local = {"without_mixer": replace(self, model={**self.model, "mixer": None})}
        return {"model": self, **(local if compare else {})}

    def build_model(self) -> HyenaNet:
        """The network, with initial weights that depend on the seed alone, or those of `start`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            model = HyenaNet(**self.model)
        if self.start is not None:
            trained, info = self.start
            try:
                model.load_state_dict(trained.state_dict())
            except RuntimeError as error:
                theirs = info.model_kwargs
                found = [
                    f"{name}: {theirs.get(name)!r}, not {value!r}"
                    for name, value in self.model.items()
                    if theirs.get(name) != value
                ]
                raise ValueError(
                    f"the weights of init = {self.config.init!r} do not fit this network; that one "
                    f"has {'; '.join(found)}"
                ) from error
        if self.config.compile:
            model.compile_layers()  # at the first step
        return model


def resolve(config: TrainConfig) -> Plan:
    """Determine everything that follows from a configuration."""
    data, model = config.data, config.model
    entry = CATALOGUE[data.source]
    known = entry.targets(data.options)
    names = [name.strip() for name in config.task.split(",")]
    task = combine([_task(name, data.source, known) for name in names])
    entry.check(data.root, data.options)
    if task.has_forces and data.order not in (None, "given"):
        raise ValueError(
            f"data.order = {data.order!r}: forces need an energy that is smooth in the positions, "
            "and the order jumps where atoms swap their places; use null, or given for a chain"
        )
    if config.compile and task.has_forces:
        raise ValueError(
            "compile with forces: torch cannot compile the second derivatives that training on "
            "forces needs; leave compile out"
        )
    if config.capture:
        _check_capture(config, task)
    arguments = {
        "irreps_out": task.irreps,
        "irreps_hidden": model.irreps_hidden,
        "num_layers": model.num_layers,
        "mixer": model.mixer,
        "cutoff": model.cutoff,
        "pool": _pool(task, model.pool),
        "ordered": data.order is not None,
        "boundary": model.boundary,
        "short_conv": model.short_conv,
        "mixer_options": dict(model.mixer_options),
        **_moments(task, _pool(task, model.pool)),
    }
    start = None if config.init is None else load_model(config.init)
    return Plan(config, entry, task, arguments, device_of(config.accelerator), start)


def _check_capture(config: TrainConfig, task: Target) -> None:
    """Refuse what is not computed on padded batches."""
    model = config.model
    mixer = MIXERS[model.mixer] if model.mixer else None
    wrong = {
        "compile": config.compile,
        "several processes": config.devices * config.nodes > 1,
        "several properties, or of atoms": task.parts or task.per_atom,
        "stress": task.has_stress,
        f"mixer {model.mixer}, which needs sizes on the host": mixer and mixer.ordered,
        "short_conv": mixer and model.short_conv,
        "a range": mixer and model.mixer_options.get("range"),
    }
    if found := [name for name, given in wrong.items() if given]:
        raise ValueError(f"capture with {' and '.join(found)} is not possible; leave one out")


def _rebuilt(config: TrainConfig, model: dict[str, Any]) -> Plan:
    return replace(resolve(config), model=model)


def _pool(task: Target, wanted: str | None) -> str | None:
    """How the network pools; None where quantities differ in it, and are pooled one by one."""
    if any(part.per_atom for part in task.each):
        if wanted is not None:
            raise ValueError(f"model.pool = {wanted!r}: the task has properties of atoms; use null")
        return None
    summed = {part.summed for part in task.each}
    return wanted or (None if len(summed) > 1 else "sum" if summed.pop() else "mean")


def _moments(task: Target, pool: str | None) -> dict[str, str]:
    """Charges for dipoles that are pooled after the network, where no atom has vectors beside."""
    kinds = {True: "", False: ""}
    for part in task.each:
        kinds[part.per_atom] += f" {part.irreps}"
    wanted = pool is None and "1o" in kinds[False] and "1o" not in kinds[True]
    return {"moments": "1o"} if wanted else {}


def _task(name: str, source: str, targets: Any) -> Target:
    """The target of a data set, or an error that says which data set has it."""
    if name in targets:
        return targets[name]
    if "targets" in CATALOGUE[source].options:
        named = ", ".join(targets) or "none"
        raise ValueError(
            f"task {name!r} is none of the targets in data.options ({named}): "
            f'say --data.options \'{{"targets": {{"{name}": {{"unit": "eV"}}}}}}\', with its unit'
        )
    get_task(name)
    homes = [other for other, entry in CATALOGUE.items() if name in entry.targets({})]
    raise ValueError(
        f"task {name!r} needs data.source {' or '.join(homes)}, not {source!r}, which has "
        f"{', '.join(targets)}"
    )
