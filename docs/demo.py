"""What the demo has trained, in one table, and the energy of a chain against its torsion.

``python docs/demo.py runs/demo runs/demo_chain``
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from e3hyena.data import Cumulenes
from e3hyena.training import load_predictor
from e3hyena.training.files import read_json
from e3hyena.training.report import aligned
from e3hyena.training.tasks import metric_labels, recorded_task

runs = [Path(name) for name in sys.argv[1:]]
head = ("test error", "with mixer", "messages alone", "mean predictor", "steps", "minutes")
body: list[tuple[str, ...]] = []
for run in runs:
    results = read_json(run / "results.json")
    rows = [results["rows"][name] for name in ("model", "without_mixer", "mean_predictor")]
    steps = " / ".join(f"{row['steps']:,}" for row in rows[:2])
    minutes = " / ".join(f"{row['seconds'] / 60:.1f}" for row in rows[:2])
    for metric, label in metric_labels(recorded_task(results)).items():
        what = label if run == runs[0] else f"C17H4, {label}"
        body.append((what, *(f"{row['test'][metric]:.4f}" for row in rows), steps, minutes))
print(f"\n{aligned(head, body)}\n")

scan = Cumulenes("scan")
z, pos = torch.cat([chain.z for chain in scan]), torch.cat([chain.pos for chain in scan])
batch = torch.arange(len(scan)).repeat_interleave(scan[0].num_nodes)
torsion = torch.linspace(0, 90, len(scan)).tolist()
figure = Figure(figsize=(6, 4), layout="constrained", dpi=150)
axes = figure.subplots()
true = torch.cat([chain.energy for chain in scan])
axes.plot(torsion, true, "k-", linewidth=4, alpha=0.3, label="GFN2-xTB")
for folder, label in (("", "with mixer"), ("without_mixer", "messages alone")):
    with torch.no_grad():
        energy = load_predictor(runs[-1] / folder)(z, pos, batch)[:, 0]
    axes.plot(torsion, energy - energy[0], label=label)
axes.set(xlabel="torsion of the ends (degrees)", ylabel="energy (eV)", title="C17H4, 20 Å long")
axes.legend()
figure.savefig(runs[-1] / "torsion.png")
print(f"written: {runs[-1] / 'torsion.png'}")
