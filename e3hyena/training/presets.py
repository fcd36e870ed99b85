"""Named configurations."""

from e3hyena.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig

PRESETS: dict[str, TrainConfig] = {
    # Dipole vectors on the embedded extract, with and without the mixer, within 10 minutes on two
    # cores. The cutoff reaches bonded neighbours: what is farther away is left to the mixer. Both
    # make the same number of steps; the time limit only matters on a slow machine.
    "demo": TrainConfig(
        task="dipole",
        output="runs/demo",
        compare_without_mixer=True,
        max_minutes=4.8,
        checkpoint_minutes=0.5,
        threads=1,
        data=DataConfig(train_size=8000, val_size=500, test_size=2000),
        model=ModelConfig(
            mixer="coordinate", irreps_hidden="32x0e + 32x1o", num_layers=2, cutoff=2.0
        ),
        optim=OptimConfig(epochs=16, batch_size=64, lr=7e-3),
    ),
    # Energies and forces of a chain longer than a local network reaches, with and without the
    # mixer; beside the former on the other core.
    "chain": TrainConfig(
        task="forces",
        output="runs/demo_chain",
        compare_without_mixer=True,
        max_minutes=4.8,
        checkpoint_minutes=0.5,
        threads=1,
        data=DataConfig(source="cumulenes"),
        model=ModelConfig(
            mixer="coordinate",
            irreps_hidden="16x0e + 16x1o + 16x2e",
            num_layers=2,
            cutoff=3.0,
        ),
        optim=OptimConfig(epochs=16, batch_size=8, lr=5e-3, loss="mse", energy_weight=100),
    ),
    # A table or a file of the user's own, of some hundred molecules, within four minutes:
    # --data.root own.csv --data.options '{"targets": {"gap": {"unit": "eV"}}}' --task gap
    "own": TrainConfig(
        task="gap",
        output="runs/own",
        max_minutes=3.5,
        threads=1,
        data=DataConfig(source="own"),
        model=ModelConfig(
            mixer="coordinate", irreps_hidden="32x0e + 32x1o", num_layers=2, cutoff=3.0
        ),
        optim=OptimConfig(epochs=40, batch_size=16, lr=4e-3),
    ),
    # Forces on 1,000 frames of ethanol, within an hour on one core; the time limit only matters on
    # a slow machine. Without the mixer, `--model.mixer null --optim.epochs 240` takes as long.
    "ethanol": TrainConfig(
        task="forces",
        output="runs/ethanol",
        max_minutes=85,
        threads=1,
        data=DataConfig(
            source="md17", root="data/md17", train_size=1000, val_size=300, test_size=1000
        ),
        model=ModelConfig(
            mixer="coordinate", irreps_hidden="32x0e + 32x1o + 32x2e", num_layers=2, cutoff=5.0
        ),
        optim=OptimConfig(epochs=120, batch_size=4, lr=4e-3, ema_decay=0.999),
    ),
}
