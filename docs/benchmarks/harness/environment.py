"""What a measurement was made on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def environment() -> dict[str, str | int]:
    """Processor, threads, versions and the GPU that was used, for the JSON beside every table."""
    known: dict[str, str | int] = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "e3nn": version("e3nn"),
        "torch_geometric": version("torch_geometric"),
    }
    if torch.cuda.is_initialized():
        known["device"] = torch.cuda.get_device_name()
    return known


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
