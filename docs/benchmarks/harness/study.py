"""A study: what is computed and how it is shown; stages, resuming and files are done here."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.cells import Cell, Work, forget, read_cells, run_cells, stop_after_failures
from benchmarks.harness.documents import find_documents
from benchmarks.harness.publish import publish
from e3hyena.training.files import check_writable, read_json

Report = dict[str, Any]
Done = Mapping[str, list[dict[str, Any]]]

# Options that say where and when, not what: a report does not hold them.
PLACES = ("stage", "output", "results", "documents", "jobs", "fresh")


@dataclass(kw_only=True)
class Config:
    """Where a study works, and what it writes.

    Parameters
    ----------
    stage : str
        A stage of the study; report: tables and plot from what is there; all: one after the other.
    output : str or None
        Folder of all that is computed, runs/NAME by default. The same folder again continues.
    results : str or None
        Folder of the report, NAME.json and NAME.png; null: the output folder. Where nothing is
        computed yet, the stage report shows the NAME.json that is there.
    documents : list of str
        Markdown files, or folders of them, whose blocks of this study are rewritten.
    jobs : int
        Processes side by side; 0: none but this one.
    threads : int
        Threads of each.
    fresh : bool
        Compute again what is there already.
    """

    stage: str = "all"
    output: str | None = None
    results: str | None = None
    documents: list[str] = field(default_factory=list)
    jobs: int = 1
    threads: int = 1
    fresh: bool = False

    def options(self) -> dict[str, Any]:
        """What the results depend on."""
        return {k: value for k, value in dataclasses.asdict(self).items() if k not in PLACES}

    def only(self, *names: str) -> dict[str, Any]:
        """Some of the options, for a cell."""
        return {name: getattr(self, name) for name in names}


@dataclass(kw_only=True)
class TimedConfig(Config):
    """How it is timed.

    Parameters
    ----------
    repeats : int
        Counted rounds, in which all rivals take turns; medians are reported.
    """

    repeats: int = 5
    threads: int = 2


def list_cells(done: Done) -> dict[str, Any]:
    """The body of a report where there is nothing to say but what the cells are."""
    return {"cells": [{**cell["config"], **cell["result"]} for cell in next(iter(done.values()))]}


@dataclass(frozen=True)
class Study:
    """Declaration of a study.

    Parameters
    ----------
    name : str
        Name of its file in ``studies``, of its command, its JSON and its plot.
    config : type
        Options, a dataclass derived from `Config`.
    cells : callable
        Config to everything that is to be computed, in order. A report needs a cell of the first
        one's stage, and takes its environment.
    measure : callable or dict
        Computes a cell: ``measure(config, folder)``, see `run_cells`. Of a study in several stages:
        one function for the cells of each, by the name of the stage, in order.
    blocks : dict of str to callable
        Report to Markdown, for every block of the documents.
    draw : callable, optional
        ``draw(report, figure)`` fills an empty figure of matplotlib.
    collect : callable
        ``collect(config, done)``: what the report holds beside config and environment. `done` has
        the finished cells of every stage: name, config, result, seconds, environment.
    """

    name: str
    config: type[Config]
    cells: Callable[[Any], list[Cell]]
    measure: Work | Mapping[str, Work]
    blocks: Mapping[str, Callable[[Report], str]]
    draw: Callable[[Report, Any], None] | None = None
    collect: Callable[[Any, Done], dict[str, Any]] = lambda _, done: list_cells(done)

    @property
    def stages(self) -> dict[str, Work]:
        """What computes the cells of each stage."""
        return {"measure": self.measure} if callable(self.measure) else dict(self.measure)

    def run(self, config: Config) -> Report | None:
        """Do what the stage asks for."""
        stages = ("all", *self.stages, "report")
        if config.stage not in stages:
            raise ValueError(f"stage: {config.stage!r} is unknown; use one of {', '.join(stages)}")
        on_gpu = getattr(config, "device", "cpu") == "cuda"
        if on_gpu and not torch.cuda.is_available():
            raise ValueError("device='cuda', but torch sees no GPU: use cpu, or a CUDA build")
        name = f"{self.name}_cuda" if on_gpu else self.name
        # The tables of the documents are those of the CPU.
        documents = [] if on_gpu else find_documents(config.documents, self.blocks)
        cells = self.cells(config)
        output = Path(config.output or f"runs/{name}")
        for stage, work in self.stages.items():
            if config.stage not in ("all", stage):
                continue
            chosen = [cell for cell in cells if cell.stage == stage]
            if config.fresh:
                forget(chosen, output)
            failures = run_cells(chosen, work, output, jobs=config.jobs, threads=config.threads)
            stop_after_failures(failures, len(chosen))
        if config.stage not in ("all", "report"):
            return None
        folder = check_writable(config.results or output)
        report = self._report(config, cells, output)
        if report is None:
            report = self._stored(folder / f"{name}.json", output)
        publish(name, report, self.render(report), self.draw, folder, documents)
        return report

    def render(self, report: Report) -> dict[str, str]:
        """Text of every block."""
        return {name: render(report) for name, render in self.blocks.items()}

    def _report(self, config: Config, cells: list[Cell], output: Path) -> Report | None:
        """Config, environment and what is collected; None where nothing is done."""
        found = read_cells(cells, output)
        done: dict[str, list[dict[str, Any]]] = {stage: [] for stage in self.stages}
        for cell in cells:
            if cell.name in found:
                done[cell.stage].append(found[cell.name])
        if not cells or not done[cells[0].stage]:
            return None
        environment = done[cells[0].stage][0]["environment"]
        body = self.collect(config, done)
        return {"config": config.options(), "environment": environment, **body}

    def _stored(self, file: Path, output: Path) -> Report:
        if not file.exists():
            raise ValueError(
                f"{str(output)!r} holds nothing to report, and there is no {str(file)!r}: "
                f"run the stage {next(iter(self.stages))} first"
            )
        print(f"nothing is computed in {output}: the report is that of {file}")
        report: Report = read_json(file)
        return report
