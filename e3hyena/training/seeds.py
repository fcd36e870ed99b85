"""One table over several seeds."""

from statistics import mean, stdev
from typing import Any

from e3hyena.training.report import TITLES
from e3hyena.training.tasks import get_task, metric_labels

__all__ = ["render_seeds"]


def render_seeds(runs: list[dict[str, Any]]) -> str:
    """Mean and standard deviation of the test errors of runs that differ in the seed.

    Parameters
    ----------
    runs : list of dict
        Contents of their ``results.json``, at least two.

    Examples
    --------
    >>> def run(seed, error):
    ...     row = {"test": {"mae": error}, "ratio": 2 / error}
    ...     return {"task": "gap", "mixer": "filter", "test_size": 2, "rows": {"model": row},
    ...             "config": {"seed": seed}}
    >>> print(render_seeds([run(0, 0.4), run(1, 0.5)]))
    | test set, 2 molecules, 2 seeds | gap, MAE (eV) | below mean predictor |
    |---|---|---|
    | filter mixer | 0.4500 ± 0.0707 | 4.5x |
    """
    first = runs[0]
    seeds = [run["config"]["seed"] for run in runs]
    if len(set(seeds)) != len(runs) or len(runs) < 2:
        raise ValueError(f"runs have the seeds {seeds}; give two or more with different seeds")
    labels = metric_labels(get_task(first["task"]))
    head = [
        f"test set, {first['test_size']:,} molecules, {len(runs)} seeds",
        *labels.values(),
        "below mean predictor",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in first["rows"]:
        rows = [run["rows"][name] for run in runs]
        cells = [TITLES.get(name, f"{first['mixer']} mixer")]
        for metric in labels:
            values = [row["test"][metric] for row in rows]
            cells.append(f"{mean(values):.4f} ± {stdev(values):.4f}")
        cells.append(f"{mean(row['ratio'] for row in rows):.1f}x")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
