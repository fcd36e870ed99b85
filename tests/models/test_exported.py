"""Exported networks: any number of atoms, edges and graphs, and no operator but torch's."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from e3hyena import HyenaNet
from e3hyena.models import energy_and_forces, energy_forces_stress, export_potential, save_package
from e3hyena.ops.backends import use_backend
from e3hyena.ops.neighbours import neighbours
from e3hyena.testing import perturb_parameters

SIZES = [(9,), (40, 2, 33), (1,)]


def network(mixer: str | None, **options: Any) -> HyenaNet:
    torch.manual_seed(0)
    options = {"irreps_hidden": "4x0e + 4x1o", "num_layers": 1, "cutoff": 3.0, **options}
    return perturb_parameters(HyenaNet("0e", mixer=mixer, ordered=True, **options)).double()


def atoms(sizes: tuple[int, ...], cells: bool = False) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(sum(sizes))
    number = sum(sizes)
    z = torch.randint(1, 9, (number,), generator=generator)
    pos = 2 * torch.randn(number, 3, generator=generator).double()
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if not cells:
        return z, pos, batch, neighbours(pos, 3.0, batch)[0]
    cell = 6 * torch.eye(3) + 0.3 * torch.randn(len(sizes), 3, 3, generator=generator)
    edge_index, shifts = neighbours(pos, 3.0, batch, cell=cell.double())
    return z, pos, batch, edge_index, cell.double(), shifts


def operators(program: torch.export.ExportedProgram) -> set[str]:
    graphs = [m.graph for m in program.graph_module.modules() if hasattr(m, "graph")]
    targets = {n.target for graph in graphs for n in graph.nodes if n.op == "call_function"}
    return {target.namespace for target in targets if hasattr(target, "namespace")}


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for one, another in zip(found, expected, strict=True):
        torch.testing.assert_close(one, another, rtol=1e-10, atol=1e-10)


class Energy(torch.nn.Module):
    def __init__(self, net: HyenaNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor, edge_index: Tensor) -> Tensor:
        return self.net(z, pos, batch, edge_index=edge_index)


def export(net: HyenaNet) -> torch.export.ExportedProgram:
    dim = torch.export.Dim.DYNAMIC
    shapes = ({0: dim}, {0: dim}, {0: dim}, {1: dim})
    return torch.export.export(Energy(net), atoms((5, 7)), dynamic_shapes=shapes)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", [None, "coordinate", "linear_attention"])
def test_energies_of_the_network_itself(mixer: str | None) -> None:
    net = network(mixer)
    with use_backend("eager"):
        plain = export(net)
    assert operators(plain) <= {"aten", "prims", "higher_order"}
    own = export(net)
    assert "e3hyena" in operators(own)  # as fast as the package, which has to be there
    for sizes in SIZES:
        z, pos, batch, edge_index = atoms(sizes)
        for program in (plain, own):
            close((program.module()(z, pos, batch, edge_index),), (net(z, pos, batch),))


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["coordinate", "linear_attention"])
def test_energies_and_forces(mixer: str) -> None:
    net = network(mixer)
    program = export_potential(net)
    assert operators(program) <= {"aten", "prims", "higher_order"}
    for sizes in SIZES:
        given = atoms(sizes)
        close(program.module()(*given), energy_and_forces(net, *given[:3]))


@pytest.mark.slow
def test_a_package_serves_any_size(tmp_path: Path) -> None:
    """Also more atoms than a tile holds, of which the example has none."""
    net = network("coordinate")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's compiler about itself
        save_package(export_potential(net), tmp_path / "potential.pt2")
        package = torch._inductor.aoti_load_package(str(tmp_path / "potential.pt2"))
    for sizes in SIZES:
        given = atoms(sizes)
        close(package(*given), energy_and_forces(net, *given[:3]))


def test_a_package_that_computes_something_else_is_refused(tmp_path, monkeypatch) -> None:
    class Program:
        example_inputs = atoms((2, 1)), {}

        def module(self) -> Any:
            return lambda *_: (torch.ones(1), torch.ones(2))

    def compiled(_: Any, package_path: str, **options: Any) -> None:
        Path(package_path).write_bytes(b"code")

    def load(_: str) -> Any:
        return lambda *_: (torch.ones(1), 1.1 * torch.ones(2))

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compiled)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", load)
    with pytest.raises(RuntimeError, match="does not compute what this program does"):
        save_package(Program(), tmp_path / "wrong.pt2")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_stress() -> None:
    net = network("coordinate")
    program = export_potential(net, periodic=True)
    for sizes in SIZES:
        z, pos, batch, edge_index, cell, shifts = atoms(sizes, cells=True)
        found = program.module()(z, pos, batch, edge_index, cell, shifts)
        close(found, energy_forces_stress(net, z, pos, batch, cell))


def test_what_cannot_be_exported() -> None:
    with pytest.raises(ValueError, match=r"follow the order of the tokens.*cannot be exported"):
        export(network("query_key"))
    with pytest.raises(ValueError, match=r"neighbours cannot be listed.*pass edge_index"):
        export(network("coordinate", mixer_options={"range": 4.0}))
    with pytest.raises(ValueError, match=r"must end in .pt2"):
        save_package(None, "potential.so")  # type: ignore[arg-type]
