"""Launches are counted rightly, and stay within what is held."""

import pytest
import torch
from benchmarks.launches import counting
from benchmarks.studies import launches
from benchmarks.studies.launches import LOCAL, STUDY, LaunchesConfig, budgets, measure

from e3hyena import HyenaOperator
from e3hyena.mixers import MIXERS
from e3hyena.ops.backends import BACKENDS


def test_views_and_memory_are_no_launches():
    x = torch.empty(4, 6, device="meta", requires_grad=True)
    with counting() as found:
        y = x.t().reshape(2, 3, 4).unsqueeze(0).expand(5, 2, 3, 4)[:, 1].detach()
        torch.empty_like(y), y.new_empty(3), x.split(2), x.chunk(2, dim=1), x.unbind()
    assert not found.launches
    with counting() as found:
        (x * 2 + x.t().contiguous().view(4, 6)).sum().backward()
        x[[0, 1]], torch.zeros(3, device="meta")
    assert found.launches["mul"] == 2 and found.launches["clone"] == 1
    assert not found.copies_from_host


def test_what_waits_for_the_gpu_is_found():
    x = torch.empty(3, device="meta")
    with counting() as found:
        torch.tensor([1.0, 2.0], device="meta"), x.new_tensor([3.0]), torch.ones(2).to("meta")
    assert found.copies_from_host.total() == 3
    for waits in (lambda: x.sum().item(), lambda: x.tolist(), lambda: bool((x > 0).any())):
        with counting(), pytest.raises((RuntimeError, NotImplementedError)):
            waits()


def test_counting_leaves_nothing_behind():
    before = torch.tensor, torch.nn.functional.scaled_dot_product_attention, set(BACKENDS)
    with counting():
        HyenaOperator("8x0e + 8x1o", mixer="attention").to("meta")(
            torch.empty(9, 32, device="meta")
        )
    after = torch.tensor, torch.nn.functional.scaled_dot_product_attention, set(BACKENDS)
    assert before == after


@pytest.mark.parametrize("mixer", [*MIXERS, LOCAL])
def test_within_what_is_held(mixer, tmp_path, monkeypatch):
    """The numbers of `launch_budgets.json`; no copies from the host after the first look."""
    values = {**LaunchesConfig().options(), "mixers": mixer}
    if mixer not in ("coordinate", LOCAL):  # the others share the network with these
        both = launches.passes(values).items()
        monkeypatch.setattr(
            launches, "passes", lambda _: {n: p for n, p in both if "step" not in n}
        )
    for name, found in measure(values, tmp_path).items():
        assert found["launches"] <= budgets()["held"][mixer][name], name
        assert not found["copies"], name


def test_study(run_small):
    report, page = run_small(STUDY, mixers=["linear_attention"], tokens=64, molecules=8)
    assert STUDY.render(report)["launches"] in page
    assert "| one graph, forward | 15 | **" in page
