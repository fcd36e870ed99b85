"""Tables and plot of the comparison on molecules, from the results alone."""

from statistics import mean
from typing import Any

from benchmarks.harness.plots import draw_dots
from benchmarks.harness.tables import MISSING, count_seeds, grid, parameters, select, spread, table
from e3hyena.training.tasks import get_task, metric_labels

SHORT = ("local", "query_key", "coordinate", "attention_gated", "linear_attention_gated")


def metric_of(target: str) -> str:
    """The reported metric: the last one, which for a vector counts its direction too."""
    return list(metric_labels(get_task(target)))[-1]


def _label(target: str) -> str:
    return metric_labels(get_task(target))[metric_of(target)]


def _title(target: str) -> str:
    return f"{target} ({get_task(target).unit})"


def _errors(report: dict[str, Any], row: str, target: str, size: int) -> list[float]:
    """One test error per seed."""
    cells = select(report, row=row, target=target, size=size)
    return [cell["test"][metric_of(target)] for cell in cells]


def render(report: dict[str, Any]) -> str:
    """Caption, whole table and plot in Markdown, for a page in docs.

    Permutation errors and parameters are those of the first target and the largest train size.
    """
    targets, sizes = report["config"]["targets"], report["config"]["train_sizes"]
    first, largest = targets[0], max(sizes)
    columns = [(target, size) for target in targets for size in sizes]
    head = [
        "network",
        *(f"{_title(target)}, {size:,}" for target, size in columns),
        *(f"re-listed, {_title(target)}" for target in targets),
        f"re-listed, relative ({first})",
        f"parameters ({first})",
        "time per step",
        "MiB per step",
    ]
    lines = grid(report["labels"], columns, lambda row, at: _errors(report, row, *at), 4)
    for row, line in zip(report["labels"], lines, strict=True):
        line += [_change(report, row, target, "permutation_error") for target in targets]
        line.append(_change(report, row, first, "relative_permutation_error"))
        line.append(parameters(select(report, row=row, target=first, size=largest)))
        line += _cost(report, row)
    guesses = [
        spread(
            cell["mean_predictor"][metric_of(target)]
            for cell in select(report, target=target, size=size)[:1]
        )
        for target, size in columns
    ]
    lines.append(["mean predictor", *guesses, *[""] * (len(head) - len(guesses) - 1)])
    plot = "![Test error of every network](results/molecules.png)"
    return "\n\n".join([_caption(report), table(head, lines), plot])


def _caption(report: dict[str, Any]) -> str:
    config = report["config"]
    budgets = zip(config["train_sizes"], config["epochs"], strict=True)
    steps = (f"{epochs * -(-size // config['batch_size']):,}" for size, epochs in budgets)
    return (
        f"Test errors ({'; '.join(map(_label, config['targets']))}) on {config['test_size']:,} "
        f"molecules after training on {' and '.join(f'{n:,}' for n in config['train_sizes'])}, "
        f"mean ± standard deviation over {_seeds(report)}. {config['irreps_hidden']}, "
        f"{config['num_layers']} layers, cutoff {config['cutoff']} Å, {' and '.join(steps)} steps "
        f"of {config['batch_size']} molecules. Re-listed: mean change of a prediction when the "
        "atoms are listed in another order. Time per step relative to the local network, one "
        f"thread, {report['environment']['cpu']}; MiB that a step adds at its peak."
    )


def _seeds(report: dict[str, Any]) -> str:
    return count_seeds(report, "row", "target", "size")


def _change(report: dict[str, Any], row: str, target: str, key: str) -> str:
    cells = select(report, row=row, target=target, size=max(report["config"]["train_sizes"]))
    return f"{mean(cell[key] for cell in cells):.1e}" if cells else MISSING


def _cost(report: dict[str, Any], row: str) -> list[str]:
    """Time relative to the first row, and memory."""
    timing = report["timing"]
    if timing is None or row not in timing["milliseconds"]:
        return [MISSING, MISSING]
    times = {name: value["median"] for name, value in timing["milliseconds"].items()}
    base = times.get("local", next(iter(times.values())))
    return [f"{times[row] / base:.2f}x", f"{timing['mebibytes'][row]:.0f}"]


def render_short(report: dict[str, Any]) -> str:
    """The README's table: five networks, the largest train size."""
    targets, largest = report["config"]["targets"], max(report["config"]["train_sizes"])
    rows = {row: report["labels"][row] for row in SHORT if row in report["labels"]}
    lines = grid(rows, targets, lambda row, target: _errors(report, row, target, largest), 4)
    for row, line in zip(rows, lines, strict=True):
        line.append(_change(report, row, targets[0], "relative_permutation_error"))
        line.append(_cost(report, row)[0])
    return table(
        [
            f"{largest:,} training molecules, {_seeds(report)}",
            *map(_title, targets),
            "changed by re-listing",
            "time per step",
        ],
        lines,
    )


def draw(report: dict[str, Any], figure: Any) -> None:
    """One panel per target: error of every row, with its spread over the seeds."""
    targets, labels = report["config"]["targets"], report["labels"]
    figure.set_size_inches(4.2 * len(targets) + 2.2, 0.36 * len(labels) + 1.4)
    panels = figure.subplots(1, len(targets), squeeze=False, sharey=True)[0]
    for axes, target in zip(panels, targets, strict=True):
        for size in report["config"]["train_sizes"]:
            errors = {label: _errors(report, row, target, size) for row, label in labels.items()}
            draw_dots(axes, errors, label=f"{size:,} training molecules")
        axes.set(xlabel=_label(target))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)
