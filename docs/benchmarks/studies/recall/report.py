"""Tables and plot of associative recall, from the results alone."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks.harness.plots import draw_means, finish, plain, style
from benchmarks.harness.tables import MISSING, count_seeds, grid, minutes, parameters, table
from benchmarks.harness.tables import select as select_any

# Mean square errors that Moskalev et al. (2024) plot, by length.
PUBLISHED = {
    "lengths": [32, 64, 128, 256],
    "random": {
        "SE(3)-Hyena, published": [0.271, 0.0069, 0.0019, 0.0022],
        "its attention, published": [1.38, 1.74, 1.74, 1.52],
    },
    "fixed": {
        "SE(3)-Hyena, published": [0.0518, 0.0381, 0.0198, 0.0296],
        "its attention, published": [0.0124, 0.0138, 0.0183, 0.0164],
    },
}
NOTHING = "Not measured yet."
TWICE, LONG = "twice the steps", "long"  # variants
PAPER = {"kind": "random", "vocabulary": 4, "degree": 1}
ENTRY = ("row", "variant", "kind", "length", "vocabulary", "degree")


def select(report: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    """Cells with these values; as in the paper's tables if no variant is asked for."""
    return select_any(report, **{"variant": None, **wanted})


def errors(report: dict[str, Any], **wanted: Any) -> list[float]:
    """One per seed."""
    return [cell["mse"] for cell in select(report, **wanted)]


def relative(report: dict[str, Any], **wanted: Any) -> list[float]:
    """Over those of predicting zero."""
    return [cell["mse"] / cell["zero"] for cell in select(report, **wanted)]


def tested(report: dict[str, Any], at: int, **wanted: Any) -> list[float]:
    """Errors at another length than the trained one."""
    return [cell["by_length"][str(at)] for cell in select(report, **wanted)]


def render(report: dict[str, Any]) -> str:
    """Captions, tables and plot in Markdown, for a page in docs."""
    config, labels = report["config"], report["labels"]
    last = {**PAPER, "length": max(config["lengths"])}
    trained = {**PAPER, "length": config["trained_length"]}
    larger = {"kind": "random", "degree": 1}
    steps = {None: f"{config['steps']:,} steps", TWICE: f"{2 * config['steps']:,} steps"}
    extended = {row: labels[row] for row in config["extension_rows"]}
    changed = {row: labels[row] for row in config["ablation_rows"]}
    variants = {cell["variant"]: cell["variant"] for cell in report["cells"]}
    variants = {name: name for name in variants if name not in (None, LONG, TWICE)}

    def measured(rows: Mapping[str, str], **wanted: Any) -> dict[str, str]:
        return {row: label for row, label in rows.items() if select(report, row=row, **wanted)}

    parts = [
        _caption(report),
        "**Random vocabularies** of 4 pairs, by length:",
        _paper_table(report, "random"),
        "**One fixed vocabulary** of 4 pairs, by length:",
        _paper_table(report, "fixed"),
        f"**Twice the steps**, random, length {last['length']}:",
        _table(
            measured(changed, **last, variant=TWICE),
            steps,
            lambda row, variant: errors(report, row=row, **last, variant=variant),
        ),
        "**Longer sequences**, random vocabularies of 4 pairs: one network for all lengths, which "
        "trains on one of them at every step, by length of the test:",
        _table(
            measured(labels, variant=LONG),
            config["long_lengths"],
            lambda row, n: tested(report, n, row=row, variant=LONG),
        ),
        "**Larger vocabularies**, random, relative to predicting zero, by vocabulary:",
        _table(
            extended,
            config["vocabularies"],
            lambda row, v: relative(report, row=row, **larger, vocabulary=v),
        ),
        "**Tensors** (`2e`), random vocabularies of 4 pairs, by length:",
        _table(
            extended,
            config["tensor_lengths"],
            lambda row, n: errors(report, row=row, **{**PAPER, "degree": 2}, length=n),
        ),
        f"**Trained at length {trained['length']}**, tested at:",
        _table(
            measured(labels, **trained),
            config["tested_lengths"],
            lambda row, n: tested(report, n, row=row, **trained),
        ),
        f"**One change at a time**, length {config['ablation_length']}, "
        f"{config['ablation_steps']:,} steps:",
        _table(variants, changed, lambda name, row: errors(report, row=row, variant=name), 4),
        "![Error against length, vocabulary and tested length](results/recall.png)",
    ]
    return "\n\n".join(parts)


def _caption(report: dict[str, Any]) -> str:
    config, machine = report["config"], report["environment"]
    own_lr = f" (LGATr-slim {config['lgatr_lr']:g})" if "lgatr" in report["labels"] else ""
    return (
        "Mean square error of the test, mean ± standard deviation over "
        f"{count_seeds(report, *ENTRY)}. "
        f"{config['irreps']}, {config['num_blocks']} blocks, short convolutions of "
        f"{config['short_conv']}, {config['steps']:,} steps of {config['tokens_per_step']:,} "
        f"tokens, learning rate {config['lr']:g}{own_lr}; the answer is read from the mean "
        f"of all tokens. One thread, {machine['cpu']}, torch {machine['torch']}. "
        "Minutes are processor time of a training. A dash: not measured yet."
    )


def _table(
    rows: Mapping[Any, str],
    columns: Iterable[Any],
    values: Callable[[Any, Any], list[float]],
    digits: int = 5,
) -> str:
    """A table, unless nothing in it is measured; columns may be a mapping to their titles."""
    lines = grid(rows, columns, values, digits)
    titles = columns.values() if isinstance(columns, Mapping) else map(str, columns)
    found = any(entry != MISSING for line in lines for entry in line[1:])
    return table(["", *titles], lines) if found else NOTHING


def _paper_table(report: dict[str, Any], kind: str) -> str:
    wanted = {**PAPER, "kind": kind}
    if not select(report, **wanted):
        return NOTHING
    lengths, published = report["config"]["lengths"], report["published"]
    rows = {row: report["labels"][row] for row in report["config"]["rows"]}
    lines = grid(rows, lengths, lambda row, n: errors(report, row=row, **wanted, length=n))
    for row, line in zip(rows, lines, strict=True):
        found = [c for c in select(report, row=row, **wanted) if c["length"] in lengths]
        line += [parameters(found), minutes(found)]
    for label, figures in published[kind].items():
        by_length = dict(zip(published["lengths"], figures, strict=True))
        shown = [f"{by_length[n]:g}" if n in by_length else MISSING for n in lengths]
        lines.append([label, *shown, "", ""])
    zeros = [[f"{c['zero']:.2f}" for c in select(report, **wanted, length=n)] for n in lengths]
    lines.append(["predicting zero", *(some[0] if some else MISSING for some in zeros), "", ""])
    return table(["", *map(str, lengths), "parameters", "minutes"], lines)


def draw(report: dict[str, Any], figure: Any) -> None:
    """Error against length, against vocabulary, and at other lengths than the trained one."""
    config, trained = report["config"], report["config"]["trained_length"]
    figure.set_size_inches(14.5, 4.6)
    by_length, by_vocabulary, elsewhere = panels = figure.subplots(1, 3)
    for place, (row, label) in enumerate(report["labels"].items()):
        look = {**style(place), "label": plain(label)}
        at = {n: errors(report, row=row, **PAPER, length=n) for n in config["lengths"]}
        draw_means(by_length, at, **look)
        beyond = {n: tested(report, n, row=row, variant=LONG) for n in config["long_lengths"]}
        draw_means(by_length, beyond, **style(place), linestyle="--", alpha=0.6)
        ratios = {
            v: relative(report, row=row, kind="random", vocabulary=v)
            for v in config["vocabularies"]
        }
        draw_means(by_vocabulary, ratios, **look)
        wanted = {**PAPER, "row": row, "length": trained}
        points = {n: tested(report, n, **wanted) for n in config["tested_lengths"]}
        draw_means(elsewhere, {**points, trained: errors(report, **wanted)}, **look)
    published = report["published"]
    for line, (label, figures) in zip(("--", ":"), published["random"].items(), strict=True):
        by_length.plot(published["lengths"], figures, line, color="black", label=label)
    by_length.set(
        xlabel="length (dashed: one network for all)",
        ylabel="mean square error, random vocabularies",
    )
    by_vocabulary.set(xlabel="vocabulary", ylabel="error relative to predicting zero")
    elsewhere.set(xlabel=f"tested length, trained at {trained}")
    finish(figure, panels)
