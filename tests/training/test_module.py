import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.callbacks.ema import WeightAverage
from e3hyena.training.module import learning_rate_factor

schedules = st.sampled_from(["cosine", "one_cycle", "constant"])


@given(schedules, st.floats(0.0, 0.9), st.floats(0.0, 1.0))
def test_learning_rate_stays_below_its_largest_value(schedule, warmup, progress):
    assert 0.0 <= learning_rate_factor(schedule, warmup, progress) <= 1.0


@given(schedules, st.floats(0.01, 0.9))
def test_learning_rate_peaks_when_warm_and_ends_at_zero(schedule, warmup):
    assert learning_rate_factor(schedule, warmup, 0.0) == 0.0
    assert learning_rate_factor(schedule, warmup, warmup) == pytest.approx(1.0)
    end = learning_rate_factor(schedule, warmup, 1.0)
    assert end == pytest.approx(1.0 if schedule == "constant" else 0.0)
    assert learning_rate_factor(schedule, warmup, 1.5) == pytest.approx(end)


def test_progress_is_the_larger_of_steps_and_time():
    clock = Clock(total_steps=10, max_seconds=100.0)
    assert clock.progress(3) == pytest.approx(0.3)
    clock.load_state_dict({"seconds": 80.0})
    assert clock.progress(3) == pytest.approx(0.8)
    assert clock.progress(20) == 1.0
    assert Clock(total_steps=10).progress(3) == pytest.approx(0.3)


class _Trainer:
    global_step = 0


def test_average_follows_the_weights_and_is_swapped_for_validation():
    module = torch.nn.Module()
    module.model = torch.nn.Linear(1, 1, bias=False)
    trainer, average = _Trainer(), WeightAverage(decay=0.5)
    average.on_fit_start(trainer, module)
    expected = module.model.weight.item()
    for step in range(1, 30):
        trainer.global_step = step
        module.model.weight.data.fill_(step)
        average.on_train_batch_end(trainer, module)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    average.on_validation_start(trainer, module)
    assert module.model.weight.item() == pytest.approx(expected, rel=1e-5)
    average.on_validation_end(trainer, module)
    assert module.model.weight.item() == 29


def test_no_averaging_keeps_the_weights_themselves():
    module = torch.nn.Module()
    module.model = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(decay=0.0)
    average.on_fit_start(_Trainer(), module)
    module.model.weight.data.fill_(7.0)
    average.on_train_batch_end(_Trainer(), module)
    assert float(average.average["weight"]) == 7.0
