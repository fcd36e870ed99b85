"""The contract of a back-end: one class and one line, reached by every operator."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import e3hyena
from e3hyena.mixers import MIXERS
from e3hyena.ops import backends
from e3hyena.ops.backends import BACKENDS, Backend, native, select, triton, use_backend
from e3hyena.testing.measure import relative_error

OPERATORS = {
    "attention": {"norm", "scale", "scalars"},
    "coordinate": {"contract", "moments", "read", "scale", "scalars", "norm"},
    "filter": {"contract", "norm", "scale", "scalars"},
    "linear_attention": {"norm", "scale", "scalars"},
    "query_key": {"contract", "convolve", "norm", "scale", "scalars"},
}


class Counting(Backend):
    """Plain torch that takes notes."""

    name = "counting"

    def __init__(self):
        self.called = set()

    def __getattribute__(self, name):
        if name in Backend.__dict__ or name.startswith("convolve"):
            object.__getattribute__(self, "called").add(name)
        return object.__getattribute__(self, name)


@pytest.fixture
def counting(monkeypatch):
    """A back-end of the user's own, in use."""
    mine = Counting()
    monkeypatch.setitem(BACKENDS, "counting", mine)
    with use_backend("counting"):
        yield mine


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_new_back_end_serves_every_operator(counting, mixer):
    torch.manual_seed(0)
    block = e3hyena.HyenaBlock("4x0e + 4x1o", mixer=mixer).double()
    x = torch.randn(60, 16, dtype=torch.float64, requires_grad=True)
    ptr = torch.tensor([0, 12, 60])
    results = []
    for name in ("counting", "eager"):
        with use_backend(name):
            y = block(x, ptr=ptr)
            results.append([y.detach(), *torch.autograd.grad(y.sin().sum(), x)])
    assert OPERATORS[mixer] <= counting.called
    assert {"norm_backward", "scale_backward", "scalars_backward"} <= counting.called
    assert relative_error(*results) == 0


@pytest.mark.parametrize(
    ("device", "numel", "expected"),
    [
        ("cpu", 10**6, "native"),
        ("cuda", 10**6, "triton"),
        ("cpu", 10, "eager"),
        ("cuda", 10, "eager"),
        ("xpu", 10**6, "eager"),
    ],
)
def test_the_device_decides(monkeypatch, device, numel, expected):
    for module in (native, triton):
        monkeypatch.setattr(module, "available", lambda: True)
    x = SimpleNamespace(device=torch.device(device), numel=lambda: numel)
    with use_backend("auto"):
        assert select(x).name == expected


def test_what_is_not_available_is_not_chosen(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    with use_backend("auto"):
        assert select(torch.zeros(10**4)).name == "eager"


def test_nobody_else_asks_for_the_device():
    """What a device does differently is a back-end's business."""
    home = Path(e3hyena.__file__).parent
    own = Path(backends.__file__).parent
    files = [file for file in home.rglob("*.py") if own not in file.parents]
    floors = [f for f in files if f.relative_to(home).parts[0] in ("ops", "mixers", "nn", "models")]
    assert len(floors) > 20
    assert not [f.name for f in floors if "device.type ==" in f.read_text()]


def test_every_mixer_is_listed_above():
    assert OPERATORS.keys() == MIXERS.keys()
