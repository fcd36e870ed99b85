"""The model file in the format of safetensors: what is no tensor goes into the header as JSON."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from e3hyena._extras import require

__all__ = ["read_safetensors", "write_safetensors"]

WEIGHTS = "state_dict."


def write_safetensors(path: Path, content: dict[str, Any]) -> None:
    """Write the content of a model file.

    Parameters
    ----------
    path : Path
    content : dict
        Tensors, plain values, and ``state_dict``, whose names get it as a prefix.

    Raises
    ------
    ImportError
        If the extra ``safetensors`` is not installed.
    """
    flat = {key: value for key, value in content.items() if key != "state_dict"}
    flat |= {WEIGHTS + name: weight for name, weight in content["state_dict"].items()}
    tensors = {key: v.contiguous() for key, v in flat.items() if isinstance(v, Tensor)}
    header = {key: json.dumps(v) for key, v in flat.items() if not isinstance(v, Tensor)}
    require("safetensors.torch", "safetensors").save_file(tensors, path, metadata=header)


def read_safetensors(path: Path) -> dict[str, Any]:
    """The inverse of `write_safetensors`; what is not such a file raises whatever it provokes."""
    with require("safetensors", "safetensors").safe_open(path, framework="pt") as file:
        header = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    weights = {k.removeprefix(WEIGHTS): v for k, v in tensors.items() if k.startswith(WEIGHTS)}
    others = {k: v for k, v in tensors.items() if not k.startswith(WEIGHTS)}
    return {**header, **others, "state_dict": weights}
