"""Table and plot of charged particles, from the results alone."""

from typing import Any

from benchmarks.harness import count_seeds, draw_dots, grid, minutes, parameters, select, table

# Published mean square errors, five particles.
PUBLISHED = {
    "standard": {"linear dynamics": 0.0819, "EGNN": 0.0071, "SEGNN": 0.0043, "CGENN": 0.0039},
    "paper": {
        "linear dynamics": 0.0322,
        "transformer": 0.0163,
        "Hyena": 0.0150,
        "SE(3)-Hyena's attention": 0.0019,
        "SE(3)-Hyena": 0.0018,
    },
}


Task = tuple[str, int]


def _tasks(report: dict[str, Any]) -> list[Task]:
    """Protocol and number of particles of every column that has a result."""
    return list({(c["protocol"], c["num_particles"]): None for c in report["cells"]})


def _cells(report: dict[str, Any], row: str, task: Task) -> list[dict[str, Any]]:
    return select(report, row=row, protocol=task[0], num_particles=task[1])


def _errors(report: dict[str, Any], row: str, task: Task) -> list[float]:
    return [cell["mse"] for cell in _cells(report, row, task)]


def render(report: dict[str, Any]) -> str:
    """Caption, table and plot in Markdown, for a page in docs."""
    config, tasks, published = report["config"], _tasks(report), report["published"]
    lines = grid(report["labels"], tasks, lambda row, task: _errors(report, row, task))
    for row, line in zip(report["labels"], lines, strict=True):
        line += [parameters(select(report, row=row)), minutes(_cells(report, row, tasks[0]))]
    for name in {name: None for protocol in published.values() for name in protocol}:
        known = (published[protocol].get(name) if n == 5 else None for protocol, n in tasks)
        figures = [f"{figure:.4f}" if figure else "" for figure in known]
        if any(figures):
            lines.append([f"{name}, published", *figures, "", ""])
    head = ["", *(f"{protocol}, n = {n}" for protocol, n in tasks), "parameters", "minutes"]
    seeds = count_seeds(report, "row", "protocol", "num_particles")
    caption = (
        f"Mean square error of the positions, mean ± standard deviation over "
        f"{seeds}. Ours: {config['irreps']}, {config['num_layers']} layers, messages "
        f"within {config['cutoff']:g}; every row {config['steps']:,} steps of "
        f"{config['particles_per_step']:,} particles, learning rate {config['lr']:g} (EGNN "
        f"{config['egnn_lr']:g}), running mean of the weights, loss: the distance, quadratic below "
        f"{config['loss_scale']:g} (linear dynamics: the square). Minutes: processor time of "
        "one training of the first column, "
        f"{report['environment']['cpu']}, torch {report['environment']['torch']}. "
        "A dash: not measured yet."
    )
    plot = "![Error of every network](results/nbody.png)"
    return "\n\n".join([caption, table(head, lines), plot])


def draw(report: dict[str, Any], figure: Any) -> None:
    """Errors of every row, one panel per column of the table; published ones as lines."""
    tasks, labels = _tasks(report), report["labels"]
    figure.set_size_inches(2 + 3.6 * len(tasks), 4.8)
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        draw_dots(axes, {label: _errors(report, row, task) for row, label in labels.items()})
        for name, error in report["published"][task[0]].items() if task[1] == 5 else ():
            axes.axvline(error, color="gray", linestyle=":", linewidth=1)
            axes.text(error, len(labels) - 0.6, name, rotation=90, fontsize=7, ha="right")
        axes.set(title=f"{task[0]}, n = {task[1]}", xlabel="mean square error")
        axes.xaxis.set_minor_formatter("")
