"""What every test shares: one thread, a fixed seed, no display, no network."""

import os
import socket

import pytest
import torch
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported, which is later
torch.set_num_threads(1)  # the tensors of a test are too small to share between cores

settings.register_profile("e3hyena", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("e3hyena")

_LOCAL = {"localhost", "127.0.0.1", "::1"}


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def default_dtype_kept():
    """A test must not leave another default dtype behind."""
    before = torch.get_default_dtype()
    yield
    after = torch.get_default_dtype()
    torch.set_default_dtype(before)
    assert after == before, f"the test changed the default dtype from {before} to {after}"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Connecting to another machine fails the test."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOCAL:
            raise RuntimeError(f"a test tried to connect to {address}; tests run without a network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
