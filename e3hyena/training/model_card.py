"""The model card: what a reader must know about a trained network, beside its file."""

from typing import Any

from e3hyena.registry import CATALOGUE, MIXERS
from e3hyena.training.tasks import metric_labels, recorded_task

_SET = "exact under rotations, reflections, translations and permutations of the atoms"
_CHAIN = "exact under rotations, reflections and translations; depends on the order of the atoms"


def render_card(results: dict[str, Any]) -> str:
    """The card in Markdown."""
    config, row = results["config"], results["rows"]["model"]
    data, model, optim = config["data"], config["model"], config["optim"]
    task, entry = recorded_task(results), CATALOGUE[data["source"]]
    labels = metric_labels(task)
    guess = results["rows"]["mean_predictor"]["test"]
    mixer = model["mixer"]
    ordered = mixer is not None and (MIXERS[mixer].ordered or model["short_conv"] > 0)
    order = f" (order: {data['order'] or 'as listed'})" if ordered else ""
    errors = [
        f"| {labels[name]} | {value:.4g} | {guess[name]:.4g} |"
        for name, value in row["test"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    machine = results["machine"]
    sizes = ", ".join(f"{results[f'{part}_size']:,} {part}" for part in ("train", "val", "test"))
    lines = [
        "---",
        "library_name: e3hyena",
        "tags: [equivariant, e3nn, molecules, hyena]",
        f"metrics: [{', '.join(row['test'])}]",
        "---",
        "",
        f"# {task.quantity} by e3hyena",
        "",
        f"Predicts {task.description}, in {task.unit}"
        + (f", and forces in {task.unit}/Angstrom." if task.has_forces else "."),
        "",
        "## Use",
        "",
        "```python",
        "from e3hyena.training import load_predictor, predict",
        "",
        'print(predict("model.pt", ["molecules.xyz"]).to_table())',
        'model = load_predictor("model.pt")',
        f"value = model(z, pos, batch)  # tensors as in PyG; {task.quantity} in {task.unit}",
        "```",
        "",
        "For molecules of the elements and of the kind that it was trained on."
        + ("" if entry.cells else " Not for periodic cells."),
        "Outside of the training data errors may be much larger, without a warning.",
        "",
        "## Data",
        "",
        f"- {entry.name}: {entry.holds}; {sizes} molecules",
        f"- origin: {entry.origin}",
        f"- licence of the data: {entry.licence}",
        "",
        f"## Errors on the {results['test_size']:,} test molecules",
        "",
        "| metric | this model | mean predictor |",
        "|---|---|---|",
        *errors,
        "",
        f"One training, seed {config['seed']}: the spread over seeds is not known from it.",
        "",
        "## Network and training",
        "",
        f"- HyenaNet, {row['parameters']:,} parameters, hidden irreps {model['irreps_hidden']}, "
        f"{model['num_layers']} layers, cutoff {model['cutoff']} Angstrom, mixer {mixer}",
        f"- symmetry: {_CHAIN + order if ordered else _SET}",
        f"- {row['epochs']} epochs ({row.get('steps', '?')} steps) of batches of "
        f"{optim['batch_size']}, learning rate {optim['lr']:g} ({optim['schedule']}), "
        f"{row['seconds'] / 60:.1f} minutes on {machine['device']} "
        f"({machine['processor']}, {machine['threads']} threads)",
        f"- {versions}",
        "",
    ]
    return "\n".join(lines)
