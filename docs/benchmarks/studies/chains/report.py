"""Tables and plots of the four tasks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import mean
from typing import Any

from benchmarks.harness import (
    count_seeds,
    draw_means,
    grid,
    minutes,
    parameters,
    plain,
    select,
    style,
    table,
)
from benchmarks.studies.chains import tasks
from benchmarks.studies.chains.tasks import C17, SCAN, SIZES, TASKS

Report = dict[str, Any]


def render_torsion(report: Report) -> str:
    truth = report["truth"]["torsion"]
    floor = ["floor of any local network", f"{truth['floor'][str(C17)]:.4f}"]
    return _block(
        report,
        "torsion",
        f"C17H4, {SIZES['torsion']['test']} unseen chains in groups of 8 torsions. Within groups: "
        "what is left when the mean over a group is taken off. Torque: of the forces on one half "
        "about the axis.",
        {
            "energy within groups, RMSE (eV)": lambda cell: cell["within"],
            "energy, MAE (eV)": lambda cell: cell["energy_mae"],
            "torque, RMSE (eV)": lambda cell: cell["torque"],
            "forces, MAE (eV/Å)": lambda cell: cell["force_mae"],
        },
        [*floor, "", f"{truth['torque']:.4f}", "", "", ""],
    )


def render_lengths(report: Report) -> str:
    barriers = {n: curve[-1] for n, curve in report["truth"]["lengths"]["scan"].items()}

    def worst(chosen: tuple[int, ...]) -> Callable[[Any], float]:
        """Largest error of a barrier, percent."""
        return lambda cell: max(
            100 * abs(cell["barrier"][str(n)] / barriers[str(n)] - 1) for n in chosen
        )

    def within(chosen: tuple[int, ...]) -> Callable[[Any], float]:
        """Error within groups over the barrier, percent."""
        return lambda cell: mean(
            100 * cell["within"][str(n)] / abs(barriers[str(n)]) for n in chosen
        )

    def forces(chosen: tuple[int, ...]) -> Callable[[Any], float]:
        return lambda cell: mean(cell["force_mae"][str(n)] for n in chosen)

    return _block(
        report,
        "lengths",
        f"Trained on {SIZES['lengths']['train']} chains each of {_listed(tasks.TRAINED)} carbons; "
        f"unseen are {_listed(tasks.UNSEEN)}, longer {_listed(tasks.LONGER)}. Energy: error within "
        "groups in percent of the barrier, mean over the lengths; barrier: largest error of the "
        "energy between 0 and 90 degrees of the "
        "straight chain, in percent.",
        {
            "energy, trained lengths (%)": within(tasks.TRAINED),
            "unseen (%)": within(tasks.UNSEEN),
            "longer (%)": within(tasks.LONGER),
            "barrier, unseen (%)": worst(tasks.UNSEEN),
            "barrier, longer (%)": worst(tasks.LONGER),
            "forces, unseen and longer, MAE (eV/Å)": forces((*tasks.UNSEEN, *tasks.LONGER)),
        },
        digits=3,
    )


def render_pairs(report: Report) -> str:
    truth = report["truth"]["pairs"]["mean"]
    near, sizes = truth["steps"], SIZES["pairs"]
    columns: dict[str, Any] = {"beyond 4 Å, RMSE (eV)": lambda cell: cell["beyond"]}
    for i, (low, high) in enumerate(pairwise(near)):
        columns[f"{low}–{high} Å"] = lambda cell, i=i: cell["by_distance"][i]
    guess = [f"{value:.4f}" for value in (truth["beyond"], *truth["by_distance"])]
    return _block(
        report,
        "pairs",
        "Interaction of methylammonium, tetramethylammonium, nitrate and formamide, two at a time, "
        f"closest atoms 3 to 15 Å apart; {sizes['train']} pairs of training, {sizes['test']} of "
        "test. The mixers of sets have a range of 20 Å.",
        columns,
        ["mean of the training pairs", *guess, "", ""],
    )


def render_ends(report: Report) -> str:
    truth = report["truth"]["ends"]
    guess = [f"{1000 * truth['mean'][name]:.2f}" for name in ("charge", "dipole")]
    floor = ["floor of any local network", f"{1000 * truth['floor']:.2f}"]
    return _block(
        report,
        "ends",
        "Chains of 10, 12 and 14 carbons with two of H, F, Cl, CN, OH, NH2, BH2, NO2 at one end; "
        "test pairs of groups are unseen. Charge of the far CH2, 13 to 18 Å away, and dipole of "
        "the charges of its atoms about its carbon.",
        {
            "charge, RMSE (.001 e)": lambda cell: 1000 * cell["charge"],
            "dipole, RMSE (.001 e Å)": lambda cell: 1000 * cell["dipole"],
        },
        ["mean of the training chains", *guess, "", ""],
        [*floor, "", "", ""],
        digits=2,
    )


def _listed(numbers: tuple[int, ...]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}"


def _block(
    report: Report,
    task: str,
    about: str,
    columns: dict[str, Callable[[dict[str, Any]], float]],
    *more: list[str],
    digits: int = 4,
) -> str:
    """Caption and table of a task, a row per mixer and those that follow from the labels."""
    config = report["config"]
    cells = {row: select(report, task=task, row=row) for row in report["labels"]}
    names = list(columns)
    lines = grid(
        report["labels"],
        names,
        lambda row, name: [columns[name](cell) for cell in cells[row]],
        digits,
    )
    for line, row in zip(lines, report["labels"], strict=True):
        line += [parameters(cells[row]), minutes(cells[row])]
    steps = config["steps"][config["tasks"].index(task)]
    seeds = count_seeds({"cells": [cell for held in cells.values() for cell in held]}, "row")
    learned = "energies and forces" if TASKS[task].forces else "these labels alone"
    config = {**config, **TASKS[task].settings}
    caption = (
        f"{about} Mean (± standard deviation) of {seeds}. All rows: {config['irreps']}, "
        f"{config['num_layers']} layers, messages within {config['cutoff']:g} Å, {steps:,} steps "
        f"of {config['batch_size']}, trained on {learned}. Minutes: processor time of a training, "
        f"{report['environment']['cpu']}."
    )
    return f"{caption}\n\n{table(['', *names, 'parameters', 'minutes'], [*lines, *more])}"


render = {
    "torsion": render_torsion,
    "lengths": render_lengths,
    "pairs": render_pairs,
    "ends": render_ends,
}


def draw(report: Report, figure: Any) -> None:
    """A panel per task."""
    figure.set_size_inches(10, 7.5)
    torsion, lengths, pairs, ends = figure.subplots(2, 2).flat
    truth = report["truth"]
    torsion.plot(SCAN, truth["torsion"]["scan"][str(C17)], "k-", linewidth=4, alpha=0.25)
    barriers = {n: curve[-1] for n, curve in truth["lengths"]["scan"].items()}
    steps = truth["pairs"]["mean"]["steps"]
    middles = [(low + high) / 2 for low, high in pairwise(steps)]
    true = truth["ends"]["true"]
    ends.plot([min(true), max(true)], [min(true), max(true)], "k-", linewidth=4, alpha=0.25)
    for place, (row, label) in enumerate(report["labels"].items()):
        cells = {task: select(report, task=task, row=row) for task in TASKS}
        look = {"label": plain(label), **style(place)}
        draw_means(torsion, _points(SCAN, [c["scan"] for c in cells["torsion"]]), **look)
        errors = [
            [100 * c["within"][n] / abs(barriers[n]) for n in barriers] for c in cells["lengths"]
        ]
        draw_means(lengths, _points([int(n) for n in barriers], errors), **look)
        draw_means(pairs, _points(middles, [c["by_distance"] for c in cells["pairs"]]), **look)
        if cells["ends"]:
            dots = {**look, "linestyle": "", "alpha": 0.5, "markersize": 3}
            ends.plot(true, cells["ends"][0]["predicted"], **dots)
    torsion.set(xlabel="torsion (degrees)", ylabel="energy (eV)", title="C17H4 (grey: GFN2-xTB)")
    lengths.set(
        xlabel="carbons", ylabel="error within groups (% of barrier)", yscale="log", title="lengths"
    )
    lengths.axvspan(tasks.LONGER[0] - 0.5, tasks.LONGER[-1] + 0.5, color="gray", alpha=0.15)
    lengths.annotate("longer than trained", (tasks.LONGER[0] - 0.4, 1), fontsize="x-small")
    pairs.axvline(TASKS["pairs"].settings["cutoff"], color="gray", linestyle=":")
    pairs.set(xlabel="distance (Å; dotted: cutoff)", ylabel="RMSE (eV)", yscale="log")
    pairs.set_title("pairs of ions and molecules")
    ends.set(xlabel="charge of the far CH2 by GFN2-xTB (e)", ylabel="predicted (e)")
    ends.set_title("donors and acceptors at the other end")
    for axes in (torsion, lengths, pairs, ends):
        axes.grid(alpha=0.25)
    torsion.legend(fontsize="x-small")


def _points(places: Any, curves: list[list[float]]) -> dict[float, list[float]]:
    return {x: [curve[i] for curve in curves] for i, x in enumerate(places)}
