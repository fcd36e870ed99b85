"""Label ethanol with GFN2-xTB, learn energy and forces, relax it, run dynamics."""

from pathlib import Path

import ase.build
import ase.io
from ase import units
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from tblite.ase import TBLite

from e3hyena.ase import HyenaCalculator
from e3hyena.training import DataConfig, ModelConfig, OptimConfig, TrainConfig, train

folder = Path("forces")
folder.mkdir(exist_ok=True)
frames = [ase.build.molecule("CH3CH2OH") for _ in range(120)]
for seed, atoms in enumerate(frames):
    atoms.rattle(0.08, seed=seed)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    atoms.get_forces()
ase.io.write(folder / "ethanol.extxyz", frames)

train(
    TrainConfig(
        task="forces",
        output=str(folder / "run"),
        data=DataConfig(source="extxyz", root=str(folder / "ethanol.extxyz")),
        model=ModelConfig(irreps_hidden="16x0e + 16x1o", num_layers=2, cutoff=5.0),
        optim=OptimConfig(epochs=12, batch_size=4, lr=1e-2),
    )
)
atoms = ase.build.molecule("CH3CH2OH")
atoms.calc = HyenaCalculator(folder / "run")
BFGS(atoms, logfile=None).run(fmax=0.05, steps=100)
before = atoms.get_total_energy()
VelocityVerlet(atoms, 0.5 * units.fs).run(100)
print(f"energy changed by {1000 * (atoms.get_total_energy() - before):.3f} meV in 50 fs")
