"""Every benchmark runs at a small size and renders what its JSON holds."""

import json
import os
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.bench import block, convolution, memory, pages, transforms

SMALL = {
    convolution: {"lengths": [64], "uneven": [32, 31], "attention_length": 64, "repeats": 2},
    block: {"length": 64, "repeats": 2, "mixers": ["query_key"]},
}


@pytest.mark.parametrize("module", SMALL, ids=lambda m: m.BLOCK)
def test_report(module: ModuleType, tmp_path: Path) -> None:
    page, output = tmp_path / "page.md", tmp_path / "report.json"
    page.write_text(f"<!-- {module.BLOCK} -->\n<!-- /{module.BLOCK} -->\n")
    module.run(
        module.Config(
            irreps=["4x0e+4x1o"],
            threads=1,
            output=str(output),
            documents=[str(page)],
            **SMALL[module],
        )
    )
    report = json.loads(output.read_text())
    assert report["environment"]["threads"] == 1
    assert module.render(report) in page.read_text()
    assert "4x0e+4x1o" in page.read_text()


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    memory.run(
        memory.Config(
            irreps=["4x0e+4x1o"], lengths=[65536], operator_length=4096, output=str(output)
        )
    )
    assert "| 4x0e+4x1o | 65536 | `eager` |" in memory.render(json.loads(output.read_text()))


def test_pages(tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    before = os.environ.get(pages.HUGE_PAGES)
    pages.run(
        pages.Config("4x0e+4x1o", lengths=[64, 128], repeats=1, threads=1, output=str(output))
    )
    assert os.environ.get(pages.HUGE_PAGES) == before
    report = json.loads(output.read_text())
    assert all(min(times) > 0 for times in report["seconds"].values())
    header, *_, last = pages.render(report).splitlines()[2:]
    assert header == "| tokens | neither | freed memory kept | huge pages | both |"
    assert last.startswith("| 128 |") and last.count("|") == 6


def test_transforms() -> None:
    report = transforms.run(transforms.Config(lengths=[8, 9, 100], total=900, repeats=2))
    assert report["nanoseconds_per_point"].keys() == {"8", "9", "100"}
    assert len(transforms.render(report).splitlines()) == 6
