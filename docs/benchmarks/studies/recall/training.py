"""One training of associative recall, by the paper's protocol."""

from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.data.recall import Recall, RecallSequences
from benchmarks.harness import fit
from benchmarks.networks.recall_net import RecallNet, component_scale

VALIDATION_TOKENS = 2**17  # of one length; only sequences beyond 655 tokens are left out
TEST_TOKENS = 16384  # of one call
DATA_SEED = 10**9  # the same data for every network and seed


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network, keep the state that validates best, test it, also at other lengths."""
    torch.manual_seed(values["seed"])
    train_sets = [_recall(values, "train", length) for length in values["trained"]]
    val_sets = [_recall(values, "val", length) for length in values["trained"]]
    test_set = _recall(values, "test", values["length"])
    model = build(values)
    done = fit(
        model,
        _draw(train_sets, values["tokens_per_step"]),
        _loss,
        lambda model: mean(test(model, val, VALIDATION_TOKENS) for val in val_sets),
        folder,
        validations=20,
        unit=model.scale**2,
        **{name: values[name] for name in ("steps", "lr", "warmup", "weight_decay")},
    )
    return {
        "mse": test(model, test_set),
        "zero": float(test_set.batch(list(range(len(test_set)))).y.square().mean()),
        "by_length": {
            str(length): test(model, _recall(values, "test", length)) for length in values["tested"]
        },
        **done,
    }


def build(values: dict[str, Any]) -> RecallNet:
    """The network of a cell."""
    degree = values["degree"]
    names = ("irreps", "num_blocks", "mixer", "mixer_options", "short_conv", "pool", "equivariant")
    return RecallNet(
        f"1x{degree}{'oe'[degree % 2 == 0]}",
        scale=component_scale(values["vocabulary"], 2 * degree + 1),
        **{name: values[name] for name in names},
    )


def _recall(values: dict[str, Any], split: str, length: int) -> Recall:
    task = {name: values[name] for name in ("kind", "vocabulary", "degree")}
    return Recall(split, length=length, seed=DATA_SEED, **task)


def _draw(sets: list[Recall], tokens: int) -> Iterator[RecallSequences]:
    """Sequences of one of the sets, at least one, without end."""
    while True:
        chosen = sets[int(torch.randint(len(sets), ()))] if len(sets) > 1 else sets[0]
        number = max(1, tokens // chosen.length)
        yield chosen.batch(torch.randint(len(chosen), (number,)).tolist())


def _loss(model: nn.Module, sequences: RecallSequences) -> Tensor:
    return (model(sequences.x) - sequences.y).square().mean()


@torch.no_grad()
def test(model: nn.Module, data: Recall, tokens: int | None = None) -> float:
    """Mean square error over all sequences of a split, or over so many that have these tokens."""
    number = len(data) if tokens is None else min(len(data), max(1, tokens // data.length))
    x, y = data.batch(list(range(number)))
    at_once = max(1, TEST_TOKENS // x.shape[1])
    errors = [
        (model(part) - answer).square().sum()
        for part, answer in zip(x.split(at_once), y.split(at_once), strict=True)
    ]
    return float(torch.stack(errors).sum() / y.numel())
