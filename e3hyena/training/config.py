"""The configuration of a training run: plain dataclasses, a YAML file, the command line."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from e3hyena.registry import CATALOGUE, MIXERS, ORDERS, Registry
from e3hyena.training.files import read_text, write_text

# Fields that a continued run may change: where and how it runs, not what it computes.
RUNTIME_FIELDS = frozenset(
    "output checkpoint_minutes accelerator devices nodes threads compile capture logger".split()
)


def _check(condition: bool, field_name: str, value: object, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{field_name} = {value!r}: must be {wanted}")


def _check_name(registry: Registry[Any], field_name: str, value: str | None) -> None:
    known = f"one of {', '.join(registry)}, or null for none"
    _check(value is None or value in registry, field_name, value, known)


def _check_nulls(kind: type, values: dict[str, Any], prefix: str = "") -> None:
    """The parser lets a null through everywhere."""
    for name, hint in get_type_hints(kind).items():
        allowed = type(None) in get_args(hint)
        _check(allowed or values[name] is not None, f"{prefix}{name}", None, "given, not null")


@dataclass
class DataConfig:
    """Which molecules are used.

    A size smaller than the split takes a random part that does not depend on the seed of the run
    and that contains the part taken by any smaller size.

    Parameters
    ----------
    source : str
        The data set, a name that `e3hyena data list` shows: for properties the embedded extract of
        QM9 (needs no download), or the full set; for energies with forces ethanol of MD17, or
        extended-xyz files of your own; "own" for any properties of your own.
    root : str, optional
        Folder of a set that is downloaded at first use; for own and extxyz the file, or the folder
        with files train, val and test.
    options : dict
        Further arguments of the data set, such as {"energy_unit": "kcal/mol", "energy_key":
        "REF_energy"} of extxyz.
    train_size : int, optional
        Number of training molecules; null: all of the split.
    val_size : int, optional
        Number of validation molecules; null: all of the split.
    test_size : int, optional
        Number of test molecules; null: all of the split.
    order : str, optional
        Order in which the atoms of every molecule are listed, for mixers and short convolutions
        that depend on it; predictions use it too. given: as in the data. null: as in the data, but
        without meaning.
    """

    source: str = "extract"
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    train_size: int | None = None
    val_size: int | None = None
    test_size: int | None = None
    order: str | None = None

    def __post_init__(self) -> None:
        known = f"one of {', '.join(CATALOGUE)}"
        _check(self.source in CATALOGUE, "data.source", self.source, known)
        _check_name(ORDERS, "data.order", self.order)
        for split in ("train", "val", "test"):
            size = getattr(self, f"{split}_size")
            right = size is None or size > 0
            _check(right, f"data.{split}_size", size, "positive, or null for all")


@dataclass
class ModelConfig:
    """The network: arguments of `e3hyena.HyenaNet`.

    Parameters
    ----------
    mixer : str, optional
        How tokens exchange information globally; null: local message passing only.
    irreps_hidden : str
        Hidden irreps, such as "32x0e + 32x1o".
    num_layers : int
        Number of blocks.
    cutoff : float, optional
        Radius of local message passing (angstrom); null: none.
    pool : {"sum", "mean"}, optional
        How atoms become a molecule; null: sum for extensive properties and dipoles, else mean.
    boundary : {"circular", "causal", "same"}, optional
        What the order of the atoms does at its ends (mixers query_key and filter); null: the
        mixer's default.
    short_conv : int
        Kernel size of a short convolution along the order of the atoms; 0: none.
    mixer_options : dict
        Further arguments of the mixer, such as {"heads": 8, "modes": 32}.
    """

    mixer: str | None = "coordinate"
    irreps_hidden: str = "32x0e + 32x1o"
    num_layers: int = 3
    cutoff: float | None = 3.0
    pool: Literal["sum", "mean"] | None = None
    boundary: Literal["circular", "causal", "same"] | None = None
    short_conv: int = 0
    mixer_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(MIXERS, "model.mixer", self.mixer)
        _check(self.num_layers > 0, "model.num_layers", self.num_layers, "positive")
        wanted = "a positive length in angstrom, or null for no message passing"
        _check(self.cutoff is None or self.cutoff > 0, "model.cutoff", self.cutoff, wanted)


@dataclass
class OptimConfig:
    """AdamW with a schedule over a fixed number of epochs.

    Parameters
    ----------
    epochs : int
        Passes over the training set.
    batch_size : int
        Molecules per step, of all processes together.
    lr : float
        Largest learning rate.
    weight_decay : float
        Decoupled weight decay of AdamW.
    schedule : {"cosine", "one_cycle", "constant"}
        cosine: linear warm-up, then half a cosine to 0. one_cycle: half a cosine up, then half a
        cosine to 0. constant: linear warm-up, then level.
    warmup : float
        Fraction of all steps spent warming up, in [0, 1); one_cycle wants about 0.3.
    loss : {"l1", "mse"}
        Length of the error in the network's scale, or its square.
    ema_decay : float
        Decay per step of the running average of the weights that is validated and kept, in
        [0, 1); 0: no averaging.
    grad_clip : float
        Largest norm of the gradient; 0: no clipping.
    weights : dict
        Weights in the loss of several properties learned together, such as {"gap": 2.0}; 1 each
        where nothing is said.
    energy_weight : float
        Weight of the energies in the loss beside forces; both over the root mean square of forces.
    stress_weight : float
        That of the stress times the volume of an atom, over the same (task stress only).
    """

    epochs: int = 50
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    warmup: float = 0.05
    loss: Literal["l1", "mse"] = "l1"
    ema_decay: float = 0.99
    grad_clip: float = 1.0
    weights: dict[str, float] = field(default_factory=dict)
    energy_weight: float = 0.1
    stress_weight: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr"):
            _check(getattr(self, name) > 0, f"optim.{name}", getattr(self, name), "positive")
        for name in ("weight_decay", "grad_clip", "energy_weight", "stress_weight"):
            _check(getattr(self, name) >= 0, f"optim.{name}", getattr(self, name), "0 or more")
        for name in ("warmup", "ema_decay"):
            _check(0 <= getattr(self, name) < 1, f"optim.{name}", getattr(self, name), "in [0, 1)")


@dataclass
class TrainConfig:
    """One training run, from data to the final table.

    Parameters
    ----------
    task : str
        A target of the data set, see `e3hyena data list`: "dipole" (the vector), "gap", "U0"; or
        "forces", energies with forces; or "stress", and stress of cells. Several: "gap, dipole".
    output : str
        Folder of everything the run writes. The same folder again continues the run.
    seed : int
        Seeds the initial weights and the order of the molecules.
    compare_without_mixer : bool
        Also train the same network without its mixer, for as many steps, for the final table.
    init : str, optional
        Model file, or folder of a run, whose weights are the initial ones: fine-tuning. The network
        must be the same; of the same quantity in the same unit the scale is kept as well, and what
        elements contribute is corrected to the new data.
    extend : int
        Epochs beyond optim.epochs, with the schedule once more: of a finished run in the folder
        `output`, with its options, this trains longer.
    max_minutes : float, optional
        Time limit of the training (minutes); the schedule ends with it. A comparison takes as many
        steps as it left time for. null: none.
    checkpoint_minutes : float
        Longest time between two checkpoints (minutes); there is one after every epoch anyway.
    accelerator : {"auto", "cpu", "gpu"}
        Where to train.
    devices : int
        Processes of this machine that share every batch, one per GPU. The result is that of one.
    nodes : int
        Machines that do, with a common folder `output`: the same command on each, with NODE_RANK
        (0, 1, ...), MASTER_ADDR and MASTER_PORT of the first in the environment.
    threads : int, optional
        CPU threads of a process; null: one per core. Small networks gain little from a second one,
        and lose much by it where other programs use the cores.
    compile : bool
        torch.compile, at the first step (a minute or more); with mixer coordinate or none.
    capture : bool
        Pad batches to a few shapes, and on a GPU capture a step of each as a CUDA graph.
    logger : {"tensorboard", "wandb"}, optional
        Where else the learning curve goes, beside metrics.csv. null: nowhere.
    data : DataConfig
        Which molecules are used.
    model : ModelConfig
        The network.
    optim : OptimConfig
        How it is trained.
    """

    task: str = "dipole"
    output: str = "runs/train"
    seed: int = 0
    compare_without_mixer: bool = False
    init: str | None = None
    extend: int = 0
    max_minutes: float | None = None
    checkpoint_minutes: float = 5.0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int | None = None
    compile: bool = False
    capture: bool = False
    logger: Literal["tensorboard", "wandb"] | None = None
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        limit, threads = self.max_minutes, self.threads
        _check(limit is None or limit > 0, "max_minutes", limit, "positive, or null for no limit")
        _check(threads is None or threads > 0, "threads", threads, "positive, or null")
        for name in ("devices", "nodes"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "positive")
        _check(self.extend >= 0, "extend", self.extend, "a number of epochs, 0 or more")
        if self.extend and self.max_minutes is not None:
            raise ValueError(
                f"extend = {self.extend} with max_minutes = {self.max_minutes}: a training with a "
                "time limit is not extended; train anew with init"
            )
        if self.init is not None and self.compare_without_mixer:
            raise ValueError(
                f"init = {self.init!r} with compare_without_mixer: its weights are those of one "
                "network; compare two runs"
            )
        _check(self.checkpoint_minutes >= 0, "checkpoint_minutes", self.checkpoint_minutes, ">= 0")

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dictionary, the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Build a configuration from a nested dictionary; what is absent keeps its default.

        Raises
        ------
        ValueError
            If a key is unknown or a value has the wrong type or range.

        Examples
        --------
        >>> TrainConfig.from_dict({"model": {"num_layers": 2}}).model.num_layers
        2
        >>> TrainConfig.from_dict({"epochs": 2})
        Traceback (most recent call last):
        ...
        ValueError: the configuration does not hold: ... 'epochs' ...
        """
        from jsonargparse import ArgumentParser

        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(cls)
        try:
            checked = parser.parse_object(values).as_dict()
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"the configuration does not hold: {reason}") from error
        groups = {"data": DataConfig, "model": ModelConfig, "optim": OptimConfig}
        for name in groups:
            _check(isinstance(checked[name], dict), name, checked[name], "a mapping of options")
        _check_nulls(cls, checked)
        for name, kind in groups.items():
            _check_nulls(kind, checked[name], f"{name}.")
        return cls(**{**checked, **{name: kind(**checked[name]) for name, kind in groups.items()}})

    def save(self, path: str | Path) -> None:
        """Write the configuration as YAML, whole or not at all."""
        import yaml

        text = yaml.safe_dump(self.to_dict(), sort_keys=False)
        write_text(path, "# e3hyena train --config FILE\n" + text, sealed=True)

    @classmethod
    def load(cls, path: str | Path) -> "TrainConfig":
        """Read a YAML or JSON file; ValueError if it is not a configuration."""
        import yaml

        try:
            values = yaml.safe_load(read_text(path))
            if not isinstance(values, dict):
                raise ValueError("not a mapping of option names to values")
            return cls.from_dict(values)
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{str(path)!r} is not a training configuration: {error}") from error

    def differences(self, other: "TrainConfig") -> list[str]:
        """Options in which two runs compute different things, as ``"name: mine, not theirs"``.

        Examples
        --------
        >>> TrainConfig(seed=1, output="here").differences(TrainConfig(seed=2, output="there"))
        ['seed: 1, not 2']
        """
        mine, theirs = _flatten(self.to_dict()), _flatten(other.to_dict())
        return [
            f"{name}: {mine.get(name)!r}, not {theirs.get(name)!r}"
            for name in sorted(mine.keys() | theirs.keys())
            if name not in RUNTIME_FIELDS and mine.get(name) != theirs.get(name)
        ]


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict)
        flat |= _flatten(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat
