"""Forces of ethanol: the error of trained networks, and a trajectory that keeps its energy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Config, plain_study, table
from e3hyena._extras import require
from e3hyena.ase import HyenaCalculator
from e3hyena.data import MD17Ethanol
from e3hyena.training.files import read_json

PUBLISHED = {"SchNet": 0.39, "DimeNet": 0.230, "PaiNN": 0.224, "TorchMD-NET": 0.109}


@dataclass(kw_only=True)
class EthanolConfig(Config):
    """What to report.

    Parameters
    ----------
    runs : list of str
        Finished runs of ``e3hyena train --task forces``; the first one drives the dynamics.
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
    """

    runs: list[str] = field(default_factory=lambda: ["runs/ethanol"])
    root: str = "data/md17"
    frames: int = 10
    steps: int = 2000
    timestep: float = 0.5
    temperature: float = 300.0
    seed: int = 0
    output: str | None = "runs/ethanol_report"  # runs/ethanol is a training


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Collect the errors, run the dynamics."""
    return {"rows": [_row(Path(run)) for run in values["runs"]], "nve": _dynamics(values)}


def _row(run: Path) -> dict[str, Any]:
    """Errors, size, time and learning curve of a finished run."""
    results, fit = read_json(run / "results.json"), read_json(run / "model" / "fit.json")
    model = results["rows"]["model"]
    return {
        **{key: results[key] for key in ("mixer", "train_size", "test_size", "unit", "machine")},
        **{key: model[key] for key in ("test", "parameters", "seconds", "epochs")},
        "mean_predictor": results["rows"]["mean_predictor"]["test"],
        "training": {name: results["config"][name] for name in ("seed", "model", "optim")},
        "curve": [[row["seconds"], row["val_force_mae"]] for row in fit["history"]],
    }


def _dynamics(values: dict[str, Any]) -> dict[str, Any]:
    """Velocity Verlet from a test frame; energies per atom, their drift, and the forces' check."""
    ase, units = require("ase", "chem"), require("ase.units", "chem")
    frames = MD17Ethanol(values["root"], "test")
    calculator = HyenaCalculator(values["runs"][0])
    molecules = [
        ase.Atoms(frame.z.numpy(), frame.pos.double().numpy(), calculator=calculator)
        for frame in (frames[i] for i in range(max(values["frames"], 1)))
    ]
    error = max((_difference(atoms) for atoms in molecules[: values["frames"]]), default=0.0)

    atoms = molecules[0]
    spread = np.sqrt(atoms.get_masses() * values["temperature"] * units.kB)[:, None]
    momenta = spread * np.random.default_rng(values["seed"]).standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    verlet = require("ase.md.verlet", "chem")
    dynamics = verlet.VelocityVerlet(atoms, values["timestep"] * units.fs)
    rows: list[tuple[float, float]] = []
    dynamics.attach(lambda: rows.append((atoms.get_potential_energy(), atoms.get_kinetic_energy())))
    dynamics.run(values["steps"])
    potential, kinetic = 1000 * np.array(rows).T / len(atoms)
    total = potential + kinetic
    picoseconds = np.arange(len(total)) * values["timestep"] / 1000
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


def _difference(atoms: Any, step: float = 1e-3) -> float:
    """Largest error of a force against central differences of fourth order, over the largest."""
    forces = atoms.get_forces()
    expected = np.zeros_like(forces)
    moved = atoms.copy()
    moved.calc = atoms.calc
    for index in np.ndindex(forces.shape):
        for multiple, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            moved.positions[index] = atoms.positions[index] + multiple * step
            expected[index] -= weight * moved.get_potential_energy() / (12 * step)
        moved.positions[index] = atoms.positions[index]
    return float(np.abs(forces - expected).max() / np.abs(forces).max())


def render(report: dict[str, Any]) -> str:
    first = report["rows"][0]
    unit, guess = first["unit"], first["mean_predictor"]
    head = ["network", f"force MAE ({unit}/Å)", f"energy MAE ({unit})", "parameters", "training"]
    body = []
    for row in report["rows"]:
        threads = row["machine"]["threads"]
        body.append(
            [
                f"{row['mixer']} mixer and local layers" if row["mixer"] else "local layers only",
                *(f"{row['test'][f'{what}_mae']:.3f}" for what in ("force", "energy")),
                f"{row['parameters']:,}",
                f"{row['seconds'] / 60:.0f} min, {threads} thread{'s' * (threads > 1)}",
            ]
        )
    body.append(["no force, mean energy", *(f"{guess[m]:.3f}" for m in guess), "", ""])
    published = ", ".join(f"{name} {value:g}" for name, value in PUBLISHED.items())
    return (
        f"{first['train_size']:,} random training frames, {first['test_size']:,} unseen test "
        f"frames, one seed, {report['environment']['cpu']}. Published with 1,000 frames of the "
        f"full trajectory (kcal/mol/Å): {published}.\n\n{table(head, body)}"
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


def draw(report: dict[str, Any], figure: Any) -> None:
    """Learning curves beside the energies of the trajectory."""
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2)
    for row in report["rows"]:
        seconds, errors = np.array(row["curve"]).T
        left.plot(seconds / 60, errors, label=f"{row['mixer'] or 'no'} mixer")
    for name in ("SchNet", "TorchMD-NET"):
        left.axhline(PUBLISHED[name], color="gray", linestyle=":", linewidth=1)
        place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        left.annotate(f"{name}, published", (1, PUBLISHED[name]), fontsize="small", **place)
    unit = report["rows"][0]["unit"]
    left.set(xlabel="training (min)", ylabel=f"validation, force MAE ({unit}/Å)", yscale="log")
    ticks = (0.1, 0.2, 0.5, 1, 2, 5)
    left.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    left.minorticks_off()
    nve = report["nve"]
    right.plot(nve["time"], nve["potential"], label="potential energy", linewidth=1)
    right.plot(nve["time"], nve["total"], label="total energy")
    right.set(xlabel="time (ps)", ylabel="change (meV per atom)")
    for axes in (left, right):
        axes.legend()


BLOCKS = {"ethanol": render, "ethanol_nve": render_nve}
STUDY = plain_study("ethanol", EthanolConfig, measure, BLOCKS, draw)
