"""One training of set recall: fresh sets at every step, tested on sets never seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.data.set_recall import IRREPS_IN, IRREPS_OUT, SetRecall, set_recall
from e3hyena.nn.block import HyenaBlock
from e3hyena.nn.linear import Linear
from e3hyena.training.files import write_json
from e3hyena.training.module import learning_rate_factor

TEST_SEED = 10**9  # far from the seeds of trainings
TEST_BATCH = 4096  # tokens of one call
CURVE_POINTS = 50


class RecallNet(nn.Module):
    """Linear embedding, Hyena blocks, linear read-out per token."""

    def __init__(
        self, irreps: str, num_blocks: int, mixer: str | None, mixer_options: dict[str, Any]
    ) -> None:
        super().__init__()
        self.embedding = Linear(IRREPS_IN, irreps)
        self.blocks = nn.ModuleList(
            HyenaBlock(irreps, mixer=mixer, mixer_options=mixer_options) for _ in range(num_blocks)
        )
        self.readout = Linear(irreps, IRREPS_OUT)

    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        """``(num_tokens, 7)`` -> ``(num_tokens, 3)``."""
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x, batch)
        return self.readout(x)


def train(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train and test one network.

    Parameters
    ----------
    values : dict
        Row, mixer, mixer_options, irreps, num_blocks, vocabulary, num_tokens, lengths, seed,
        steps, tokens_per_step, test_tokens, lr, warmup.
    folder : Path
        Receives the learning curve, ``curve.json``.

    Returns
    -------
    result : dict
        Test error, also by the number of tokens per set; parameters, seconds of training.
    """
    torch.manual_seed(values["seed"])
    model = RecallNet(
        values["irreps"], values["num_blocks"], values["mixer"], values["mixer_options"]
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=values["lr"], weight_decay=1e-4)
    vocabulary, num_tokens, steps = values["vocabulary"], values["num_tokens"], values["steps"]
    generator = torch.Generator().manual_seed(values["seed"])
    num_sets = max(1, values["tokens_per_step"] // num_tokens)
    curve, losses = [], []
    start = time.perf_counter()
    for step in range(steps):
        factor = learning_rate_factor("cosine", values["warmup"], (step + 1) / steps)
        optimizer.param_groups[0]["lr"] = values["lr"] * factor
        loss = error(model, set_recall(num_sets, num_tokens, vocabulary, generator=generator))
        if not torch.isfinite(loss):
            raise ValueError(f"the loss became {float(loss.detach())} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % max(1, steps // CURVE_POINTS) == 0:
            curve.append({"step": step + 1, "error": sum(losses) / len(losses)})
            losses.clear()
    seconds = time.perf_counter() - start
    write_json(folder / "curve.json", curve)
    torch.save(model.state_dict(), folder / "weights.pt")
    return {
        "error": test(model, vocabulary, num_tokens, values["test_tokens"]),
        "by_length": {
            str(length): test(model, vocabulary, length, values["test_tokens"])
            for length in values["lengths"]
        },
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seconds": seconds,
    }


def error(model: nn.Module, sets: SetRecall) -> Tensor:
    """Mean square error at the queries, relative to the mean square of their values."""
    asked = sets.is_query
    target = sets.target[asked]
    return (model(sets.x, sets.batch)[asked] - target).square().mean() / target.square().mean()


@torch.no_grad()
def test(model: nn.Module, vocabulary: int, num_tokens: int, test_tokens: int) -> float:
    """`error` on fresh sets, the same for every network."""
    generator = torch.Generator().manual_seed(TEST_SEED)
    at_once = max(1, TEST_BATCH // num_tokens)
    batches = max(1, test_tokens // (at_once * num_tokens))
    errors = [
        error(model, set_recall(at_once, num_tokens, vocabulary, generator=generator))
        for _ in range(batches)
    ]
    return float(torch.stack(errors).mean())
