"""A study is one file: found by itself, run in stages, continued, reported, drawn."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import benchmarks.studies
import pytest
from benchmarks import __main__ as entry
from benchmarks.harness.documents import read_block
from benchmarks.harness.study import Config, Study

from e3hyena.cli import main

TOY = '''"""Powers of numbers."""
from dataclasses import dataclass, field
from pathlib import Path
from benchmarks.harness.study import Cell, Config, Study
from benchmarks.harness.tables import flatten, table

@dataclass(kw_only=True)
class ToyConfig(Config):
    """What to raise.

    Parameters
    ----------
    numbers : list of int
        These numbers.
    """
    numbers: list[int] = field(default_factory=lambda: [2, 3])
    threads: int = 2

def cells(config):
    return [Cell(f"n{n}", {"n": n}) for n in config.numbers]

def measure(values, folder):
    with (folder / "calls").open("a") as file:
        file.write("x")
    if Path(folder.parents[1], "broken").exists() and values["n"] == 3:
        raise RuntimeError("interrupted")
    return {"square": values["n"] ** 2}

def render(report):
    return table(["n", "square"], [[f"{c['n']}", f"{c['square']}"] for c in report["cells"]])

def draw(report, figure):
    figure.subplots().plot([cell["square"] for cell in report["cells"]])

STUDY = Study("toy", ToyConfig, cells, measure, {"toy": render}, draw)
'''
TABLE = "| n | square |\n|---|---|\n| 2 | 4 |\n| 3 | 9 |"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """A folder of studies with nothing but one new file in it."""
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(benchmarks.studies, "__path__", [str(folder)])
    sys.modules.pop("benchmarks.studies.toy", None)
    monkeypatch.setattr(entry, "STUDIES", folder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text("<!-- toy -->\nold\n<!-- /toy -->\n")
    yield entry.load_study("toy")
    sys.modules.pop("benchmarks.studies.toy", None)


def run(toy: Study, **options: Any) -> Any:
    return toy.run(toy.config(**{"jobs": 0, "documents": ["."], **options}))


def calls(n: int) -> int:
    return len(Path(f"runs/toy/work/n{n}/calls").read_text())


def test_it_is_found_without_being_imported(toy: Study) -> None:
    sys.modules.pop("benchmarks.studies.toy")
    assert entry.find_studies(entry.STUDIES) == {"toy": "Powers of numbers."}
    assert "benchmarks.studies.toy" not in sys.modules


def test_stages_and_report(toy: Study) -> None:
    assert run(toy, stage="measure") is None
    assert read_block("page.md", "toy") == "old"
    report = run(toy, stage="report")
    assert report["config"] == {"threads": 2, "numbers": [2, 3]}
    assert report["environment"]["threads"] == 2
    assert json.loads(Path("runs/toy/toy.json").read_text()) == report
    assert Path("runs/toy/toy.png").read_bytes().startswith(b"\x89PNG")
    assert read_block("page.md", "toy") == TABLE


def test_it_continues_where_it_stopped(toy: Study) -> None:
    Path("runs/toy").mkdir(parents=True)
    Path("runs/toy/broken").touch()
    with pytest.raises(RuntimeError, match=r"1 of 2 cells failed \(n3\)"):
        run(toy)
    assert read_block("page.md", "toy") == "old"
    Path("runs/toy/broken").unlink()
    run(toy)
    assert (calls(2), calls(3)) == (1, 2)
    assert read_block("page.md", "toy") == TABLE
    run(toy, fresh=True)
    assert (calls(2), calls(3)) == (1, 1)


def test_a_stored_report_is_enough(toy: Study, tmp_path: Path) -> None:
    run(toy, results="results")
    before = {path: path.read_bytes() for path in Path("results").glob("*.json")}
    Path("page.md").write_text("<!-- toy -->\n<!-- /toy -->\n")
    run(toy, stage="report", output="empty", results="results")
    assert read_block("page.md", "toy") == TABLE
    assert {path: path.read_bytes() for path in Path("results").glob("*.json")} == before
    with pytest.raises(ValueError, match=r"nothing to report.*run the stage measure first"):
        run(toy, stage="report", output="empty")


def test_wrong_options(toy: Study) -> None:
    with pytest.raises(ValueError, match="use one of all, measure, report"):
        run(toy, stage="dessert")
    with pytest.raises(ValueError, match="no file 'nowhere"):
        run(toy, documents=["nowhere.md"])
    with pytest.raises(ValueError, match="select nothing"):
        run(toy, numbers=[])


def test_its_command(toy: Study, capsys: pytest.CaptureFixture[str]) -> None:
    commands = {"toy": entry._command("toy", "Powers of numbers.")}
    with pytest.raises(SystemExit):
        main(["toy", "--help"], commands)
    shown = capsys.readouterr().out
    assert "These numbers" in shown and "Markdown files, or folders" in shown
    assert "{all,measure,report}" in shown and "default: 2" in shown
    assert main(["toy", "--stage", "dessert"], commands) == 2
    words = ["toy", "--numbers", "[2, 3]", "--jobs", "0", "--documents", "[page.md]"]
    assert main(words, commands) == 0
    assert read_block("page.md", "toy") == TABLE


def test_options_say_what_and_not_where() -> None:
    assert Config(output="a", results="b", jobs=3, stage="report", fresh=True).options() == {
        "threads": 1
    }
