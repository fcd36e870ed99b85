"""Numbers that a change of code must not change: float64, parameters and inputs without chance.

Where they should change, ``python -m tests.golden.test_golden`` rewrites them.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from e3hyena import HyenaBlock, HyenaNet, HyenaOperator, SE3Hyena
from e3hyena.mixers import MIXERS
from e3hyena.models import energy_and_forces, energy_forces_stress

STORED = Path(__file__).with_name("numbers.json")
IRREPS = "2x0e + 2x1o + 2x1e + 2x2e"
Z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 7])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])


def waves(*shape: int, phase: float = 0.0) -> Tensor:
    """Numbers between -1 and 1 that no generator draws."""
    count = torch.Size(shape).numel()
    steps = torch.arange(count, dtype=torch.float64) * 0.7548776662466927
    return (2 * ((steps + phase + 0.5) % 1) - 1).reshape(shape)


def filled(module: nn.Module) -> nn.Module:
    """Parameters by their names."""
    module = module.double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(0.8 * waves(*parameter.shape, phase=sum(map(ord, name)) / 97))
    return module


def of_tokens(module: nn.Module) -> dict[str, Tensor]:
    """Result and gradient for graphs of five, no, one and three tokens."""
    x = waves(9, 2 * 12).requires_grad_()
    y = filled(module)(x, ptr=torch.tensor([0, 5, 5, 6, 9]))
    (gradient,) = torch.autograd.grad((y * waves(*y.shape, phase=0.3)).sum(), x)
    return {"y": y, "gradient": gradient}


def of_atoms(mixer: str | None, **options: object) -> dict[str, Tensor]:
    """Output of every kind, energy, forces and, of a cell, stress."""
    pos = 1.2 * torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 3)
    pos = pos + 0.2 * waves(8, 3)
    options = {"irreps_hidden": IRREPS, "num_layers": 2, "mixer": mixer, "ordered": True, **options}
    net = filled(HyenaNet("0e + 1o + 1e + 2e", **options))
    found = {"y": net(Z, pos, BATCH)}
    net = filled(HyenaNet("0e", **options))
    found["energy"], found["forces"] = energy_and_forces(net, Z, pos, BATCH)
    if mixer is None and options["cutoff"]:
        cell = 4 * torch.eye(3, dtype=torch.float64) + 0.1 * waves(3, 3)
        found["stress"] = energy_forces_stress(net, Z, pos, BATCH, cell)[2]
    return found


CASES: dict[str, Callable[[], dict[str, Tensor]]] = {
    **{
        f"{make.__name__} {mixer}": lambda make=make, mixer=mixer: of_tokens(
            make(IRREPS, mixer=mixer)
        )
        for make in (HyenaOperator, HyenaBlock)
        for mixer in MIXERS
    },
    "SE3Hyena": lambda: of_tokens(SE3Hyena(IRREPS, num_channels=4)),
    **{
        f"HyenaNet {mixer} {cutoff}": lambda mixer=mixer, cutoff=cutoff: of_atoms(
            mixer, cutoff=cutoff
        )
        for mixer in (None, *MIXERS)
        for cutoff in (None, 2.5)
    },
    "HyenaNet coordinate range": lambda: of_atoms(
        "coordinate", cutoff=2.5, mixer_options={"range": 4.0}
    ),
}


def compute(name: str) -> dict[str, list[float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kinds that these irreps do not reach
        return {key: value.flatten().tolist() for key, value in CASES[name]().items()}


def test_every_case_is_stored() -> None:
    assert sorted(json.loads(STORED.read_text())) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str) -> None:
    stored, found = json.loads(STORED.read_text())[name], compute(name)
    assert stored.keys() == found.keys()
    for key, expected in stored.items():
        largest = max(map(abs, expected))
        assert found[key] == pytest.approx(expected, rel=0, abs=1e-9 * largest), key
        assert largest > 1e-6, f"{key} says nothing"


if __name__ == "__main__":
    numbers = {
        name: {key: [float(f"{v:.12g}") for v in value] for key, value in compute(name).items()}
        for name in CASES
    }
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in numbers.items()]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"written: {STORED}")
