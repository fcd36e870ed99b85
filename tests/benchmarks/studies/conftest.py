"""Studies so small that a cell takes a second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.harness.study import Config, Study

Result = tuple[dict[str, Any], str]


@pytest.fixture
def run_small(tmp_path: Path) -> Callable[..., Result]:
    """Run a study in this process; its report, and a page with all its blocks."""

    def run(study: Study, **options: Any) -> Result:
        page = tmp_path / "page.md"
        page.write_text("".join(f"<!-- {b} -->\nold\n<!-- /{b} -->\n" for b in study.blocks))
        where = {"output": str(tmp_path / study.name), "documents": [str(page)]}
        report = study.run(study.config(**{"jobs": 0, "threads": 1, **where, **options}))
        assert report is not None
        assert json.loads((tmp_path / study.name / f"{study.name}.json").read_text()) == report
        assert (tmp_path / study.name / f"{study.name}.png").exists() == (study.draw is not None)
        assert "old" not in page.read_text()
        return report, page.read_text()

    return run


def made_up(
    study: Study, config: Config, result: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, Any]:
    """A report of invented results of the first stage; cells with none are not done yet."""
    machine = {"cpu": "abacus", "torch": "0"}
    cells = study.cells(config)
    done: dict[str, list[dict[str, Any]]] = {stage: [] for stage in study.stages}
    for cell in cells:
        invented = result(cell.config) if cell.stage == cells[0].stage else None
        if invented is not None:
            done[cell.stage].append({"config": cell.config, "result": invented})
    body = study.collect(config, done)
    return {"config": config.options(), "environment": machine, **body}
