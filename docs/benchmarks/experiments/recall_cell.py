"""One training of associative recall, by the paper's protocol."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.data.recall import Recall, RecallSequences
from benchmarks.networks.recall_net import RecallNet, component_scale
from e3hyena.training.files import write_json
from e3hyena.training.module import learning_rate_factor

VALIDATIONS = 20
VALIDATION_TOKENS = 2**17  # of one length; only sequences beyond 655 tokens are left out
TEST_TOKENS = 16384  # of one call
DATA_SEED = 10**9  # the same data for every network and seed


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train a network, keep the state that validates best, test it.

    Parameters
    ----------
    values : dict
        Row, mixer, mixer_options, equivariant, irreps, num_blocks, short_conv, pool; kind, length,
        vocabulary, degree, seed; steps, tokens_per_step, lr, warmup, weight_decay; trained, the
        lengths of the training sequences, one drawn at every step; tested, further lengths to
        test at.
    folder : Path
        Receives the learning curve, ``curve.json``, and ``weights.pt``.

    Returns
    -------
    result : dict
        Mean square error of the test, that of predicting zero, errors at other lengths, step of the
        state kept, parameters, processor seconds of training.
    """
    torch.manual_seed(values["seed"])
    train_sets = [_recall(values, "train", length) for length in values["trained"]]
    val_sets = [_recall(values, "val", length) for length in values["trained"]]
    test_set = _recall(values, "test", values["length"])
    model = build(values)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=values["lr"], weight_decay=values["weight_decay"]
    )
    steps, every = values["steps"], max(1, values["steps"] // VALIDATIONS)
    best, kept, losses, curve = float("inf"), model.state_dict(), [], []
    best_step = 0
    start = time.process_time()
    for step in range(1, steps + 1):
        factor = learning_rate_factor("cosine", values["warmup"], step / steps)
        optimizer.param_groups[0]["lr"] = values["lr"] * factor
        x, y = _draw(train_sets, values["tokens_per_step"])
        loss = (model(x) - y).square().mean()
        if not torch.isfinite(loss):
            raise ValueError(f"the loss became {float(loss.detach())} at step {step}")
        optimizer.zero_grad()
        (loss / model.scale**2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
        if step % every == 0 or step == steps:
            error = mean(test(model, val, VALIDATION_TOKENS) for val in val_sets)
            curve.append({"step": step, "train": float(torch.stack(losses).mean()), "val": error})
            losses.clear()
            if error < best:
                best, best_step, kept = error, step, copy.deepcopy(model.state_dict())
    seconds = time.process_time() - start
    model.load_state_dict(kept)
    write_json(folder / "curve.json", curve)
    torch.save(kept, folder / "weights.pt")
    return {
        "mse": test(model, test_set),
        "zero": float(_answers(test_set).square().mean()),
        "by_length": {
            str(length): test(model, _recall(values, "test", length)) for length in values["tested"]
        },
        "best_step": best_step,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seconds": seconds,
    }


def build(values: dict[str, Any]) -> RecallNet:
    """The network of a cell."""
    degree = values["degree"]
    return RecallNet(
        f"1x{degree}{'oe'[degree % 2 == 0]}",
        values["irreps"],
        values["num_blocks"],
        values["mixer"],
        values["mixer_options"],
        short_conv=values["short_conv"],
        pool=values["pool"],
        equivariant=values["equivariant"],
        scale=component_scale(values["vocabulary"], 2 * degree + 1),
    )


def _recall(values: dict[str, Any], split: str, length: int) -> Recall:
    return Recall(
        split,
        values["kind"],
        length=length,
        vocabulary=values["vocabulary"],
        degree=values["degree"],
        seed=DATA_SEED,
    )


def _draw(sets: list[Recall], tokens: int) -> RecallSequences:
    """Sequences of one of the sets, at least one."""
    chosen = sets[int(torch.randint(len(sets), ()))] if len(sets) > 1 else sets[0]
    number = max(1, tokens // chosen.length)
    return chosen.batch(torch.randint(len(chosen), (number,)).tolist())


def _answers(data: Recall) -> Tensor:
    return data.batch(list(range(len(data)))).y


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
