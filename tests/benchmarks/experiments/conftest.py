"""Experiments so small that a cell takes a second."""

from pathlib import Path
from typing import Any

import pytest
from benchmarks.experiments.molecules import Config as MoleculesConfig
from benchmarks.experiments.recall import Config as SequenceRecallConfig
from benchmarks.experiments.set_recall import Config as SetRecallConfig


@pytest.fixture
def molecules(tmp_path: Path) -> MoleculesConfig:
    """Two networks, one target, one seed, 16 molecules."""
    return MoleculesConfig(
        output=str(tmp_path / "molecules"),
        rows=["local", "query_key_canonical"],
        targets=["dipole"],
        train_sizes=[16],
        epochs=[1],
        seeds=[0],
        irreps_hidden="4x0e + 4x1o",
        num_layers=1,
        batch_size=8,
        val_size=4,
        test_size=8,
        timing_repeats=1,
    )


@pytest.fixture
def recall(tmp_path: Path) -> SetRecallConfig:
    """Two mixers, two vocabularies, three steps."""
    return SetRecallConfig(
        output=str(tmp_path / "recall"),
        rows=["coordinate_4", "attention"],
        vocabularies=[4, 16],
        lengths=[32, 64],
        irreps="4x0e + 4x1o",
        num_blocks=1,
        steps=3,
        tokens_per_step=64,
        test_tokens=256,
    )


@pytest.fixture
def sequence_recall(tmp_path: Path) -> SequenceRecallConfig:
    """Two networks, one length, three steps."""
    return SequenceRecallConfig(
        output=str(tmp_path / "sequence_recall"),
        parts=["random"],
        rows=["query_key", "attention"],
        extension_rows=["query_key"],
        lengths=[8],
        long_lengths=[16],
        vocabularies=[8],
        tensor_lengths=[8],
        ablation_rows=["query_key"],
        ablation_length=8,
        ablation_steps=3,
        trained_length=8,
        tested_lengths=[4, 16],
        seeds=[0],
        irreps="4x0e + 4x1o",
        num_blocks=1,
        steps=3,
        tokens_per_step=64,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A document with the blocks of all experiments."""
    names = ("molecules", "molecules_short", "recall_set", "recall")
    names += ("scaling", "scaling_claims")
    path = tmp_path / "page.md"
    path.write_text("".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in names))
    return path


def as_words(config: Any) -> list[str]:
    """The options of a config for the command line."""
    import json

    return [
        word
        for name, value in vars(config).items()
        if value is not None
        for word in (f"--{name}", value if isinstance(value, str) else json.dumps(value))
    ]
