"""What a model file says about its model, checked before anything is built from it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from e3nn import o3
from torch import Tensor

from e3hyena.data.orders import ORDERS
from e3hyena.data.targets import Target
from e3hyena.data.units import ENERGY_UNITS
from e3hyena.irreps import parse_irreps
from e3hyena.mixers import MIXERS
from e3hyena.models import HyenaNet
from e3hyena.training.scaling import NUM_ELEMENTS, Scaling
from e3hyena.training.tasks import get_task, recorded_task

_LARGEST_DEGREE = 11  # what e3nn has Clebsch-Gordan coefficients for


def parse_object(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The JSON object in a string of a model file; ValueError if it holds none."""
    try:
        value = json.loads(content[name])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its {name} cannot be read ({type(error).__name__})") from error
    _check(isinstance(value, dict), name, value)
    return dict(value)


def check_description(content: Mapping[str, Any]) -> None:
    """ValueError if a value of a model file is missing, or is not of the type and range it needs.

    Weights must be finite numbers: a training that diverged has no model.
    """
    names = ("task", "unit", "elements", "e3hyena_version", "state_dict", *Scaling._fields)
    for name in names:
        if name not in content:
            raise ValueError(f"its {name} is missing")
    for name in ("task", "unit", "e3hyena_version"):
        _check(isinstance(content[name], str), name, content[name])
    task = _task(content)
    own = task if "target" in content else get_task(task.name)
    known = ENERGY_UNITS if task.has_forces else (own.unit,)
    _check(content["unit"] in known, "unit", content["unit"])
    elements = content["elements"]
    in_range = isinstance(elements, list) and all(
        type(z) is int and 0 < z < NUM_ELEMENTS for z in elements
    )
    _check(in_range and len(set(elements)) == len(elements) > 0, "elements", elements)
    several = (len(task.parts),) if task.parts else ()
    for name, shape in zip(Scaling._fields, [(), (), (NUM_ELEMENTS,)], strict=True):
        value, shape = content[name], (*several, *shape)
        right = isinstance(value, Tensor) and value.shape == shape and value.is_floating_point()
        _check(right and bool(value.isfinite().all()), name, value)
    _check(bool((content["scale"] > 0).all()), "scale", content["scale"])
    weights = content["state_dict"]
    _check(isinstance(weights, dict) and len(weights) > 0, "state_dict", type(weights))
    for name, weight in weights.items():
        right = isinstance(name, str) and isinstance(weight, Tensor)
        _check(right and weight.is_floating_point(), "state_dict", name)
        if not weight.isfinite().all():
            raise ValueError(f"the weights {name!r} are not finite: the training diverged")
    config = parse_object(content, "config")
    data = config.get("data", {})
    _check(isinstance(data, dict), "config.data", data)
    order = data.get("order")  # absent in early files
    _check(order is None or (isinstance(order, str) and order in ORDERS), "data.order", order)


def _task(content: Mapping[str, Any]) -> Target:
    """The target, whose definition must agree with its name and unit."""
    if "target" in content:
        _check(isinstance(content["target"], str), "target", content["target"])
        values = parse_object(content, "target")
        try:
            task = Target.from_dict(values)
            whole = all(part.dim > 0 and isinstance(part.name, str) for part in task.each)
        except (TypeError, ValueError, AttributeError, AssertionError) as error:
            raise ValueError(f"its target cannot be read ({error})") from error
        same = (task.name, task.unit) == (content["task"], content["unit"])
        _check(whole and same, "target", content["target"])
    return recorded_task(content)


def build_network(kwargs: dict[str, Any], weights: Mapping[str, Tensor], out: str) -> HyenaNet:
    """The network of a model file, with its weights.

    Nothing is allocated or computed before the arguments are known to fit the weights, so that a
    changed number cannot make it take forever.
    """
    _check_arguments(kwargs, weights)
    try:
        with torch.random.fork_rng(devices=[]):
            with torch.device("meta"):
                found = _shapes(HyenaNet(**kwargs).state_dict())
            if found != _shapes(weights):
                raise ValueError("its weights do not fit the network of this version")
            with torch.device("cpu"):
                model = HyenaNet(**kwargs)
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError) as error:
        raise ValueError(str(error)) from error
    if model.irreps_out != o3.Irreps(out):
        raise ValueError(f"its irreps_out {model.irreps_out} are not those of its task, {out}")
    model.load_state_dict(weights)
    return model


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


def _check_arguments(kwargs: dict[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Types, and numbers no larger than the weights can come from."""
    kinds: dict[str, tuple[type, ...]] = {
        "irreps_out": (str,),
        "irreps_hidden": (str,),
        "num_layers": (int,),
        "mixer": (str, type(None)),
        "cutoff": (int, float, type(None)),
        "pool": (str, type(None)),
        "irreps_features": (str, type(None)),
        "ordered": (bool,),
        "boundary": (str, type(None)),
        "short_conv": (int,),
        "mixer_options": (dict, type(None)),
        "moments": (str,),
    }
    for name, value in kwargs.items():
        _check(type(value) in kinds.get(name, ()), name, value)
    cutoff, mixer = kwargs.get("cutoff"), kwargs.get("mixer")
    _check(cutoff is None or (cutoff > 0 and math.isfinite(cutoff)), "cutoff", cutoff)
    _check(mixer is None or mixer in MIXERS, "mixer", mixer)
    largest = max(max(weight.shape, default=1) for weight in weights.values())
    for name, value in {**(kwargs.get("mixer_options") or {}), **kwargs}.items():
        if type(value) is int:
            _check(0 <= value <= max(largest, len(weights)), name, value)
        elif type(value) is float:
            _check(math.isfinite(value), name, value)
    ends = {name.rpartition(".")[2] for name in weights}
    for name in ("irreps_out", "irreps_hidden", "irreps_features"):
        text = kwargs.get(name)
        if text is None:
            continue
        irreps = parse_irreps(text, name)
        _check(irreps.num_irreps > 0 or name == "irreps_features", name, text)
        for mul, ir in irreps:
            _check(ir.l <= _LARGEST_DEGREE and mul <= largest, name, text)
            in_weights = mul == 0 or str(ir) in ends or name == "irreps_out"
            _check(in_weights or not kwargs.get("num_layers"), name, text)


def _check(right: object, name: str, value: object) -> None:
    if not right:
        raise ValueError(f"its {name} is {repr(value)[:60]}, which no such model has")
