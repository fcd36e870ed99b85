"""The model of messages, held against those that are really sent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from benchmarks.studies import parallel
from benchmarks.studies.parallel import ParallelConfig, fit_link, in_group, messages, on_gpus

from e3hyena import HyenaOperator
from e3hyena.parallel import ContextParallel

TOKENS = 24


def operators() -> list[HyenaOperator]:
    return [HyenaOperator("8x0e + 8x1o", mixer=mixer) for mixer in ParallelConfig().mixers]


def counted() -> list[list[tuple[str, int]]]:
    """Collectives of a pass of every operator, by wrappers around those of torch."""
    sent: list[tuple[str, int]] = []
    to_all, reduce = dist.all_to_all_single, dist.all_reduce

    def all_to_all(out: Any, x: Any, *sizes: Any, **options: Any) -> Any:
        sent.append(("all_to_all", x.numel()))
        return to_all(out, x, *sizes, **options)

    def all_reduce(x: Any, **options: Any) -> Any:
        sent.append(("all_reduce", x.numel()))
        return reduce(x, **options)

    dist.all_to_all_single, dist.all_reduce = all_to_all, all_reduce
    found = []
    for operator in operators():
        sent.clear()
        x = torch.randn(TOKENS // dist.get_world_size(), 32, requires_grad=True)
        ContextParallel(operator)(x).sum().backward()
        found.append(sent[1:])  # without how many tokens everybody has
    return found


@pytest.mark.slow
def test_messages_are_as_many_and_as_large_as_the_model_says() -> None:
    for found in in_group(2, counted):
        assert found == [messages(operator, TOKENS, 2) for operator in operators()]


def test_a_link_is_found_again() -> None:
    times = [
        [kind, n, 1e-4 + 2e-9 * 4 * n / 2]
        for kind in ("all_to_all", "all_reduce")
        for n in (2**8, 2**16, 2**20)
    ]
    assert fit_link(times, 2)["all_to_all"] == pytest.approx((1e-4, 2e-9))


def test_bytes_of_moments_do_not_grow_with_the_structure() -> None:
    coordinate = HyenaOperator("32x0e + 32x1o", mixer="coordinate")
    short, long = (on_gpus(coordinate, tokens, 64) for tokens in (2**16, 2**24))
    assert short["bytes"] == long["bytes"] and long["computing"] == 256 * short["computing"]
    ordered = HyenaOperator("32x0e + 32x1o", mixer="query_key")
    near, far = (on_gpus(ordered, 2**24, world)["bytes"] for world in (8, 16))
    assert far > near  # a slower link


def test_report(monkeypatch: pytest.MonkeyPatch, run_small: Any) -> None:
    kinds = ("all_to_all", "all_reduce")

    def group(number: int, work: Any, *arguments: Any) -> list[Any]:
        if work is parallel._times:
            links = [[kind, n, 1e-4 + 1e-9 * n] for kind in kinds for n in (2**8, 2**20)]
            return [{"passes": dict.fromkeys(arguments[1], 1.0), "links": links}]
        if number == 1:
            raise parallel.mp.ProcessRaisedException("no memory", 0, 0)
        return [{"seconds": 1.0, "mebibytes": 100.0}]

    monkeypatch.setattr(parallel, "in_group", group)
    report, page = run_small(parallel.STUDY, processes=[1, 2], large_mixers=["coordinate"])
    assert "| `coordinate` | 1 | fails: no memory |" in page
    assert "| `coordinate` | 2 | 100 MiB a process, 1 s |" in page
    assert "| `filter` | 1000 (1000) | 1000 (" in page
    assert {line["gpus"] for line in report["far"]} == set(parallel.GPUS)
