"""The entry point of all measurements."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import COMMANDS

from e3hyena.cli import main

DOCS = Path(__file__).parents[2] / "docs"

# Nothing beyond the core may be needed to show help.
WITHOUT_EXTRAS = """
import sys
for name in ("lightning", "lightning.pytorch", "matplotlib", "ase", "rdkit", "pandas"):
    sys.modules[name] = None
from benchmarks.__main__ import COMMANDS
from e3hyena.cli import main
for words in (["--help"], *([name, "--help"] for name in ("molecules", "nbody", "operator"))):
    try:
        main(words, COMMANDS)
        raise AssertionError(words)
    except SystemExit as stop:
        assert not stop.code, words
"""


def test_help_works_without_extras() -> None:
    environment = {"PYTHONPATH": f"{DOCS}:{DOCS.parent}"}
    subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], check=True, env=environment)


def test_the_folder_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "benchmarks"), "alchemy"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(DOCS.parent)},
    )
    assert done.returncode == 2 and done.stderr.startswith("benchmarks: error: ")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "block"),
        (["alchemy"], "alchemy"),
        (["molecules", "--stage", "dessert"], "stage"),
    ],
)
def test_wrong_arguments(capsys: pytest.CaptureFixture[str], words, named) -> None:
    assert main(words, COMMANDS, "benchmarks") == 2
    out, err = capsys.readouterr()
    assert named in err and err.startswith("benchmarks: error: ") and not out
