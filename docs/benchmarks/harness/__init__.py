"""What all studies share: cells and their processes, stages, tables in documents, plots."""
# ruff: noqa: F401

from benchmarks.harness.cells import Cell
from benchmarks.harness.peak import added_mebibytes, in_fresh_process
from benchmarks.harness.plans import plain_study
from benchmarks.harness.plots import draw_dots, draw_means, finish, plain, style
from benchmarks.harness.rows import Row, check_names, known, labels
from benchmarks.harness.study import Config, Done, Report, Study, TimedConfig
from benchmarks.harness.tables import (
    MISSING,
    caption,
    count_seeds,
    flatten,
    grid,
    minutes,
    parameters,
    select,
    spread,
    table,
)
from benchmarks.harness.training import fit
from e3hyena.testing.timing import interleave
