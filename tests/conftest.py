"""What every test shares: one thread, a fixed seed, no display, no network."""

import math
import os
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
# One thread per process, those that a test starts included: two kernels of two threads each on
# two cores wait for each other, and a notebook of half a minute then runs for ten.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported, which is later
torch.set_num_threads(1)  # the tensors of a test are too small to share between cores

settings.register_profile("e3hyena", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("fuzz", deadline=None, max_examples=200, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "e3hyena"))

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
def poisoned_memory(request, monkeypatch):
    """Where operators are tested, memory that was not written reads as NaN."""
    floors = {"ops", "mixers", "nn"} & set(request.path.parts)
    if not floors or "compile" in request.node.nodeid.lower():  # tracing takes no patched methods
        return

    def poison(make):
        def made(*args, **kwargs):
            x = make(*args, **kwargs)
            return x.fill_(math.nan) if x.dtype.is_floating_point and x.device.type == "cpu" else x

        return made

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Connecting to another machine fails the test."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOCAL:
            raise RuntimeError(f"a test tried to connect to {address}; tests run without a network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def labelled_molecules() -> list[Any]:
    """40 distorted molecules of four kinds with energies and forces (eV, eV/Angstrom)."""
    build, emt = pytest.importorskip("ase.build"), pytest.importorskip("ase.calculators.emt")
    molecules = []
    for seed in range(40):
        atoms = build.molecule(["H2O", "CH3CH2OH", "NH3", "CH4"][seed % 4])
        atoms.rattle(0.1, seed=seed)
        atoms.calc = emt.EMT()
        atoms.get_forces()
        molecules.append(atoms)
    return molecules


@pytest.fixture(scope="session")
def finished_forces(tmp_path_factory: pytest.TempPathFactory, labelled_molecules: Any) -> Path:
    """Folder of a finished run of the task forces on them. Tests must not change it."""
    from ase import io

    from e3hyena.training import DataConfig, ModelConfig, OptimConfig, TrainConfig, train

    folder = tmp_path_factory.mktemp("forces")
    io.write(folder / "molecules.extxyz", labelled_molecules)
    config = TrainConfig(
        task="forces",
        output=str(folder / "run"),
        accelerator="cpu",
        data=DataConfig(source="extxyz", root=str(folder / "molecules.extxyz")),
        model=ModelConfig(irreps_hidden="8x0e + 8x1o", num_layers=1),
        optim=OptimConfig(epochs=8, batch_size=8, lr=1e-2, ema_decay=0.9),
    )
    with warnings.catch_warnings():
        # lightning, once per process
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        train(config)
    return folder / "run"
