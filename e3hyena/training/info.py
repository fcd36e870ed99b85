"""What a model file is, in a few lines."""

import json
from pathlib import Path

from e3hyena.registry import CATALOGUE
from e3hyena.training.checkpoint import load_model
from e3hyena.training.files import read_json
from e3hyena.training.tasks import metric_labels


def describe(checkpoint: str | Path) -> str:
    """Lines on task, network, training data and, if the run lies beside, errors."""
    model, info = load_model(checkpoint)
    arguments, data = info.model_kwargs, info.config.get("data", {})
    forces = f", forces in {info.task.unit}/Angstrom" if info.task.has_forces else ""
    lines = {
        "predicts": f"{info.task.quantity} in {info.task.unit}{forces} ({info.task.description})",
        "elements": f"{', '.join(map(str, info.elements))} (atomic numbers)",
        "parameters": f"{sum(weight.numel() for weight in model.parameters()):,}",
        "irreps": f"{arguments.get('irreps_hidden')} -> {arguments.get('irreps_out')}",
        "mixer": str(arguments.get("mixer")),
        "written by": f"e3hyena {info.version}",
    }
    if data.get("source") in CATALOGUE:
        entry = CATALOGUE[data["source"]]
        size = "all" if data.get("train_size") is None else f"{data['train_size']:,}"
        lines["data"] = f"{entry.name}, {size} of the training part ({entry.origin})"
        lines["licence"] = f"of the data: {entry.licence}"
        lines["seed"] = str(info.config.get("seed"))
    path = Path(checkpoint)
    results = (path if path.is_dir() else path.parent) / "results.json"
    if results.is_file():
        found = read_json(results, "rows")["rows"]["model"]["test"]
        labels = metric_labels(info.task)
        if found.keys() == labels.keys():
            lines["test errors"] = "; ".join(f"{labels[m]}: {found[m]:.4g}" for m in found)
    lines |= {"network": json.dumps(arguments), "run": json.dumps(info.config)}
    return "\n".join(f"{name:12}{text}" for name, text in lines.items())
