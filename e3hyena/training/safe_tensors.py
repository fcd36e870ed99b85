"""The model file in the format of safetensors: what is no tensor goes into the header as JSON."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from e3hyena._digest import with_digest
from e3hyena._extras import require
from e3hyena.training.files import atomic_path

WEIGHTS = "state_dict."


def write_safetensors(path: str | Path, content: dict[str, Any]) -> None:
    """Write the content of a model file with its digest."""
    library = require("safetensors.torch", "safetensors")
    content = with_digest(content)
    flat = {key: value for key, value in content.items() if key != "state_dict"}
    flat |= {WEIGHTS + name: weight for name, weight in content["state_dict"].items()}
    tensors = {key: v.contiguous() for key, v in flat.items() if isinstance(v, Tensor)}
    header = {key: json.dumps(v) for key, v in flat.items() if not isinstance(v, Tensor)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(library.save(tensors, metadata=header))


def read_safetensors(path: Path) -> dict[str, Any]:
    """What `write_safetensors` got, with its digest; what is no such file raises anything."""
    with require("safetensors", "safetensors").safe_open(path, framework="pt") as file:
        header = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    weights = {k.removeprefix(WEIGHTS): v for k, v in tensors.items() if k.startswith(WEIGHTS)}
    others = {k: v for k, v in tensors.items() if not k.startswith(WEIGHTS)}
    return {**header, **others, "state_dict": weights}
