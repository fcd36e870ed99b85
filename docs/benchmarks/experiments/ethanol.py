"""Forces of ethanol: the error of trained networks, and a trajectory that keeps its energy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.report import markdown, publish
from benchmarks.harness.environment import environment
from e3hyena._extras import require
from e3hyena.ase import HyenaCalculator
from e3hyena.data import MD17Ethanol
from e3hyena.training.files import read_json

PUBLISHED = {"SchNet": 0.39, "DimeNet": 0.230, "PaiNN": 0.224, "TorchMD-NET": 0.109}


@dataclass
class Config:
    """What to report.

    Parameters
    ----------
    runs : list of str
        Folders of finished runs of ``e3hyena train --task forces`` on ethanol; the first one also
        drives the dynamics.
    root : str
        Folder of MD17.
    frames : int
        Test frames on which forces are compared with finite differences.
    steps : int
        Steps of the trajectory at constant energy.
    timestep : float
        Its step (fs).
    temperature : float
        Temperature of the velocities that it starts with (K).
    seed : int
        Seeds the velocities.
    results : str
        Folder for ``ethanol.json`` and ``ethanol.png``.
    documents : list of str
        Markdown files whose blocks ``<!-- ethanol -->`` and ``<!-- ethanol_nve -->`` are rewritten.
    """

    runs: list[str] = field(default_factory=lambda: ["runs/ethanol"])
    root: str = "data/md17"
    frames: int = 10
    steps: int = 2000
    timestep: float = 0.5
    temperature: float = 300.0
    seed: int = 0
    results: str = "docs/results"
    documents: list[str] = field(default_factory=list)


def run(config: Config) -> dict[str, Any]:
    """Collect the errors, run the dynamics, write JSON, plot and tables, return what JSON holds."""
    report: dict[str, Any] = {
        "config": asdict(config),
        "environment": environment(),
        "rows": [_row(Path(folder)) for folder in config.runs],
        "nve": _dynamics(config),
    }
    blocks = {"ethanol": render(report), "ethanol_nve": render_nve(report)}
    publish(config.results, "ethanol", report, blocks, _draw(report), config.documents)
    return report


def _row(folder: Path) -> dict[str, Any]:
    """Errors, size, time and learning curve of a finished run."""
    results = read_json(folder / "results.json")
    model, history = results["rows"]["model"], read_json(folder / "model" / "fit.json")["history"]
    return {
        "mixer": results["mixer"],
        "train_size": results["train_size"],
        "test_size": results["test_size"],
        "unit": results["unit"],
        **{key: model[key] for key in ("test", "parameters", "seconds", "epochs")},
        "mean_predictor": results["rows"]["mean_predictor"]["test"],
        "machine": results["machine"],
        "training": {name: results["config"][name] for name in ("seed", "model", "optim")},
        "curve": [[row["seconds"], row["val_force_mae"]] for row in history],
    }


def _dynamics(config: Config) -> dict[str, Any]:
    """Velocity Verlet from a test frame; energies per atom, their drift, and the forces' check."""
    units, verlet = require("ase.units", "chem"), require("ase.md.verlet", "chem")
    frames = MD17Ethanol(config.root, "test")
    molecules = [_atoms(frames[i]) for i in range(max(config.frames, 1))]
    calculator = HyenaCalculator(config.runs[0])
    for atoms in molecules:
        atoms.calc = calculator
    error = max((_difference(atoms) for atoms in molecules[: config.frames]), default=0.0)

    atoms = molecules[0]
    spread = np.sqrt(atoms.get_masses() * config.temperature * units.kB)[:, None]
    velocities = np.random.default_rng(config.seed).standard_normal((len(atoms), 3))
    momenta = spread * velocities
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    rows: list[list[float]] = []
    dynamics = verlet.VelocityVerlet(atoms, config.timestep * units.fs)

    def observe() -> None:
        energies = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        rows.append([1000 * energy / len(atoms) for energy in energies])

    dynamics.attach(observe)
    dynamics.run(config.steps)
    potential, kinetic = np.array(rows).T
    total = potential + kinetic
    picoseconds = np.arange(len(total)) * config.timestep / 1000
    every = max(1, len(total) // 400)
    return {
        "drift": float(np.polyfit(picoseconds, total, 1)[0]),
        "largest_deviation": float(np.abs(total - total[0]).max()),
        "potential_spread": float(potential.std()),
        "temperature": float((2 / 3) * kinetic.mean() / 1000 / units.kB),
        "finite_difference_error": error,
        "time": picoseconds[::every].round(6).tolist(),
        "total": (total - total[0])[::every].round(6).tolist(),
        "potential": (potential - potential[0])[::every].round(4).tolist(),
    }


def _atoms(frame: Any) -> Any:
    return require("ase", "chem").Atoms(frame.z.numpy(), frame.pos.double().numpy())


def _difference(atoms: Any, step: float = 1e-3) -> float:
    """Largest error of a force against central differences of fourth order, over the largest."""
    forces = atoms.get_forces()
    expected = np.zeros_like(forces)
    for index in np.ndindex(forces.shape):
        energies = []
        for multiple in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions[index] += multiple * step
            energies.append(moved.get_potential_energy())
        slope = 8 * (energies[2] - energies[1]) - (energies[3] - energies[0])
        expected[index] = -slope / (12 * step)
    return float(np.abs(forces - expected).max() / np.abs(forces).max())


def render(report: dict[str, Any]) -> str:
    """The table of errors."""
    first = report["rows"][0]
    unit = first["unit"]
    head = ["network", f"force MAE ({unit}/Å)", f"energy MAE ({unit})", "parameters", "training"]
    body = [
        [
            f"{row['mixer']} mixer and local layers" if row["mixer"] else "local layers only",
            f"{row['test']['force_mae']:.3f}",
            f"{row['test']['energy_mae']:.3f}",
            f"{row['parameters']:,}",
            f"{row['seconds'] / 60:.0f} min, {row['machine']['threads']} thread"
            + ("s" if row["machine"]["threads"] > 1 else ""),
        ]
        for row in report["rows"]
    ]
    guess = first["mean_predictor"]
    body.append(["no force, mean energy", *(f"{guess[m]:.3f}" for m in guess), "", ""])
    published = ", ".join(f"{name} {value:g}" for name, value in PUBLISHED.items())
    return (
        f"{first['train_size']:,} random training frames, {first['test_size']:,} unseen test "
        f"frames, one seed, {report['environment']['cpu']}. Published with 1,000 frames of the "
        f"full trajectory (kcal/mol/Å): {published}.\n\n{markdown(head, body)}"
    )


def render_nve(report: dict[str, Any]) -> str:
    """The sentence about the trajectory."""
    nve, config = report["nve"], report["config"]
    return (
        f"{config['steps']:,} steps of {config['timestep']:g} fs from a test frame, velocities "
        f"drawn at {config['temperature']:g} K (mean temperature {nve['temperature']:.0f} K): "
        f"drift of the total energy {nve['drift']:+.4f} meV per atom and ps, largest deviation "
        f"{nve['largest_deviation']:.3f} meV per atom, where the potential energy swings by "
        f"{nve['potential_spread']:.1f} (standard deviation). Forces against finite differences "
        f"of the energy on {config['frames']} test frames: {nve['finite_difference_error']:.0e} of "
        "the largest force."
    )


def _draw(report: dict[str, Any]) -> Any:
    def draw(figure: Any) -> None:
        figure.set_size_inches(10, 4)
        left, right = figure.subplots(1, 2)
        for row in report["rows"]:
            seconds, errors = zip(*row["curve"], strict=True)
            label = f"{row['mixer']} mixer" if row["mixer"] else "local layers only"
            left.plot([s / 60 for s in seconds], errors, label=label)
        for name in ("SchNet", "TorchMD-NET"):
            left.axhline(PUBLISHED[name], color="gray", linestyle=":", linewidth=1)
            end = (1, PUBLISHED[name])
            left.annotate(
                f"{name}, published", end, xycoords=("axes fraction", "data"), ha="right",
                va="bottom", fontsize="small",
            )  # fmt: skip
        unit = report["rows"][0]["unit"]
        left.set(xlabel="training (min)", ylabel=f"validation, force MAE ({unit}/Å)", yscale="log")
        ticks = (0.1, 0.2, 0.5, 1, 2, 5)
        left.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        left.minorticks_off()
        left.legend()
        nve = report["nve"]
        right.plot(nve["time"], nve["potential"], label="potential energy", linewidth=1)
        right.plot(nve["time"], nve["total"], label="total energy")
        right.set(xlabel="time (ps)", ylabel="change (meV per atom)")
        right.legend()

    return draw
