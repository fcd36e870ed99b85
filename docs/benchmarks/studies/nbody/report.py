"""Table and plot of charged particles, from the results alone."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.harness.plots import plain
from benchmarks.harness.tables import MISSING, count_seeds, select, spread, table

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


def _tasks(report: dict[str, Any]) -> list[tuple[str, int]]:
    """Protocol and number of particles of every column that has a result."""
    return list({(c["protocol"], c["num_particles"]): None for c in report["cells"]})


def _cells(report: dict[str, Any], row: str, task: tuple[str, int]) -> list[dict[str, Any]]:
    return select(report, row=row, protocol=task[0], num_particles=task[1])


def render(report: dict[str, Any]) -> str:
    """Caption, table and plot in Markdown, for a page in docs."""
    config, tasks = report["config"], _tasks(report)
    lines = []
    for row, label in report["labels"].items():
        found = [cell for task in tasks for cell in _cells(report, row, task)]
        first = _cells(report, row, tasks[0])
        lines.append(
            [
                label,
                *(spread((c["mse"] for c in _cells(report, row, task)), 5) for task in tasks),
                f"{found[0]['parameters']:,}" if found else MISSING,
                f"{mean(cell['seconds'] for cell in first) / 60:.1f}" if first else MISSING,
            ]
        )
    names = {name: None for protocol in report["published"].values() for name in protocol}
    for name in names:
        figures = [
            f"{report['published'][protocol][name]:.4f}"
            if particles == 5 and name in report["published"][protocol]
            else ""
            for protocol, particles in tasks
        ]
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
    tasks = _tasks(report)
    figure.set_size_inches(2 + 3.6 * len(tasks), 4.8)
    labels = list(report["labels"].items())
    for axes, (protocol, particles) in zip(
        figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks, strict=True
    ):
        for place, (row, _) in enumerate(labels):
            errors = [c["mse"] for c in _cells(report, row, (protocol, particles))]
            axes.plot(errors, [place] * len(errors), "o", markersize=5, alpha=0.7)
        if particles == 5:
            for name, error in report["published"][protocol].items():
                axes.axvline(error, color="gray", linestyle=":", linewidth=1)
                axes.text(error, len(labels) - 0.6, name, rotation=90, fontsize=7, ha="right")
        axes.set(xscale="log", title=f"{protocol}, n = {particles}", xlabel="mean square error")
        axes.set_yticks(range(len(labels)), [plain(label) for _, label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.grid(alpha=0.25)
