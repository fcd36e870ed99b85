"""Every route of the page on deployment gives the same molecule the same energy."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "examples" / "deploy"
PAGE = (ROOT / "docs" / "deployment.md").read_text()
NEEDS = {
    "ase_calculator": "ase",
    "torch_sim_dynamics": "torch_sim",
    "openmm_dynamics": "openmm",
    "openmmml_system": "openmmml",
    "metatomic_ase": "metatomic_ase",
    "aoti_package": "torch",
}


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def energy(output: str) -> float:
    found = re.search(r"^energy (\S+) eV$", output, re.MULTILINE)
    assert found is not None, output
    return float(found[1])


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> float:
    script = "from network import net, pos, z; print(f'energy {float(net(z, pos)):.12f} eV')"
    environment = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); {script}"
    return energy(run([sys.executable, "-c", environment], tmp_path_factory.mktemp("expected")))


def test_all_are_short_and_shown() -> None:
    scripts = sorted(path for path in FOLDER.iterdir() if path.suffix in (".py", ".cpp"))
    assert {script.stem for script in scripts} == {*NEEDS, "network", "run_package"}
    for script in scripts:
        text = script.read_text()
        assert len(text.splitlines()) <= 40
        assert f"\n{text}```" in PAGE, script.name


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_the_same_energy(name: str, expected: float, tmp_path: Path) -> None:
    if find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    output = run([sys.executable, str(FOLDER / f"{name}.py")], tmp_path)
    assert abs(energy(output) - expected) < 1e-6
    if name == "aoti_package":
        _in_cpp(expected, tmp_path)


def _in_cpp(expected: float, folder: Path) -> None:
    """The package that is in the folder now."""
    compiler, there = shutil.which("g++"), Path(torch.__path__[0])
    if compiler is None or not (there / "include" / "torch" / "csrc").exists():
        return
    folders = [there / "include", there / "include" / "torch" / "csrc" / "api" / "include"]
    options = [f"-I{path}" for path in folders] + [f"-L{there}/lib", f"-Wl,-rpath,{there}/lib"]
    libraries = ["-ltorch", "-ltorch_cpu", "-lc10"]
    source = str(FOLDER / "run_package.cpp")
    command = [compiler, "-std=c++20", "-O0", source, *options, *libraries, "-o", "run_package"]
    run(command, folder)
    assert abs(energy(run(["./run_package"], folder)) - expected) < 1e-6
