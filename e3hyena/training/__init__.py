"""Training (needs the extra ``train``), checkpoints and prediction."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e3hyena.training.checkpoint import ModelInfo, load_model, save_model
    from e3hyena.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
    from e3hyena.training.ensemble import Ensemble, load_pretrained
    from e3hyena.training.prediction import predict
    from e3hyena.training.predictor import Predictor, load_predictor
    from e3hyena.training.presets import PRESETS
    from e3hyena.training.run import train

# Imported on first use, so that the options can be listed without torch.
_HOMES = {
    "DataConfig": "config",
    "ModelConfig": "config",
    "OptimConfig": "config",
    "TrainConfig": "config",
    "PRESETS": "presets",
    "ModelInfo": "checkpoint",
    "load_model": "checkpoint",
    "save_model": "checkpoint",
    "Ensemble": "ensemble",
    "load_pretrained": "ensemble",
    "predict": "prediction",
    "Predictor": "predictor",
    "load_predictor": "predictor",
    "train": "run",
}

__all__ = [
    "PRESETS", "DataConfig", "Ensemble", "ModelConfig", "ModelInfo", "OptimConfig", "Predictor",
    "TrainConfig", "load_model", "load_predictor", "load_pretrained", "predict", "save_model",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
