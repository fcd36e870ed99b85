"""The portable model file: tensors, strings and numbers, with a format version."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from e3hyena import __version__
from e3hyena._digest import KEY, check_digest
from e3hyena.data.targets import Target
from e3hyena.models import HyenaNet
from e3hyena.training.description import build_network, check_description, parse_object
from e3hyena.training.safe_tensors import read_safetensors, write_safetensors
from e3hyena.training.scaling import Scaling
from e3hyena.training.tasks import is_known, recorded_task
from e3hyena.training.torch_files import read_torch, write_torch

FORMAT = "e3hyena-model"
SAFETENSORS = ".safetensors"
FORMAT_VERSION = 2  # 1 had no digest


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about its model.

    Attributes
    ----------
    task : Target
        What the model predicts; ``task.unit`` is the unit of predictions.
    scaling : Scaling
        From the network's output to the property.
    elements : list of int
        Atomic numbers that the model was trained on.
    model_kwargs : dict
        Arguments that rebuild the network.
    config : dict
        The configuration of the training run.
    version : str
        Version of the package that wrote the file.
    """

    task: Target
    scaling: Scaling
    elements: list[int]
    model_kwargs: dict[str, Any]
    config: dict[str, Any]
    version: str


def save_model(path: str | Path, state_dict: dict[str, Tensor], info: ModelInfo) -> None:
    """Write a model file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Ending in ``.safetensors``, in the format of that library (extra ``safetensors``); else in
        torch's.
    state_dict : dict of str to Tensor
        Weights of the `HyenaNet` that ``info.model_kwargs`` builds.
    info : ModelInfo
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "e3hyena_version": info.version,
        "task": info.task.name,
        "unit": info.task.unit,
        "elements": list(info.elements),
        "model_kwargs": json.dumps(info.model_kwargs),
        "config": json.dumps(info.config),
        **info.scaling._asdict(),
        "state_dict": {name: weight.detach().cpu() for name, weight in state_dict.items()},
    }
    if not is_known(info.task):
        content["target"] = json.dumps(info.task.to_dict())
    if Path(path).suffix == SAFETENSORS:
        write_safetensors(path, content)
    else:
        write_torch(path, content)


def load_model(path: str | Path) -> tuple[HyenaNet, ModelInfo]:
    """Rebuild a trained network from its file, as it is: its output is in no unit.

    `load_predictor` loads it so that it answers in the unit of its property.

    Parameters
    ----------
    path : str or Path
        A ``model.pt`` or ``.safetensors`` file, or the output folder that holds the former.

    Returns
    -------
    model : HyenaNet
        In evaluation mode, on the CPU. Its output is in the network's scale:
        ``info.scaling.to_property`` gives the property in ``info.task.unit``.
    info : ModelInfo

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, was not written by this package, or is of a newer format.

    Examples
    --------
    >>> model, info = load_model("runs/demo/model.pt")  # doctest: +SKIP
    >>> output = model(z, pos, batch)  # doctest: +SKIP
    >>> dipole = info.scaling.to_property(output, z, batch)  # debye  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.pt"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {str(path)!r}: give the model.pt that `e3hyena train` wrote, "
            "or its folder"
        )
    content = _read(path)
    try:
        check_description(content)
        info = ModelInfo(
            task=recorded_task(content),
            scaling=Scaling(*(content[name].double() for name in Scaling._fields)),
            elements=content["elements"],
            model_kwargs=parse_object(content, "model_kwargs"),
            config=parse_object(content, "config"),
            version=content["e3hyena_version"],
        )
        model = build_network(info.model_kwargs, content["state_dict"], info.task.irreps)
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r} cannot be used: {error} (it was written by e3hyena "
            f"{content.get('e3hyena_version')}, this is {__version__}); give another checkpoint, "
            "or install that version"
        ) from error
    return model.eval(), info


def _read(path: Path) -> dict[str, Any]:
    """Content of a model file that is ours, whole and not too new."""
    try:
        content = read_safetensors(path) if path.suffix == SAFETENSORS else read_torch(path)
    except ImportError:
        raise
    except Exception as error:  # safetensors has many ways to say so
        raise ValueError(
            f"{str(path)!r} is not a checkpoint of e3hyena, or it is damaged ({error}): give the "
            "model.pt that `e3hyena train` wrote, or copy it anew"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{str(path)!r} was not written by e3hyena: give the model.pt that `e3hyena train` "
            "wrote (last.ckpt beside it is the trainer's own)"
        )
    found = content.get("format_version")
    if type(found) is not int or not 1 <= found <= FORMAT_VERSION:
        raise ValueError(
            f"{str(path)!r} has format version {found}, but e3hyena {__version__} reads up "
            f"to {FORMAT_VERSION}: pip install --upgrade e3hyena"
        )
    try:
        if found > 1 and KEY not in content:
            raise ValueError("it has lost its digest")
        check_digest(content)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{str(path)!r} was changed since it was written, or it is damaged ({error}): copy it "
            "anew"
        ) from error
    return content
