import pytest
import torch

from e3hyena.data import TARGETS
from e3hyena.training.evaluate import mean_predictor, summarise
from e3hyena.training.tasks import errors, get_task, metric_labels


def test_unknown_tasks_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'dipol' is unknown: use one of .*dipole"):
        get_task("dipol")


@pytest.mark.parametrize("name", TARGETS)
def test_metrics_have_labels_with_the_unit(name):
    task = get_task(name)
    label = torch.randn(4, 3 if task.irreps == "1o" else 1)
    assert errors(task, label, label).keys() == metric_labels(task).keys()
    assert all(task.unit in label for label in metric_labels(task).values())


def test_a_turned_dipole_has_the_right_length_and_the_wrong_direction():
    label = torch.randn(50, 3)
    found = summarise(get_task("dipole"), -label, label)
    assert found["norm_mae"] == pytest.approx(0.0, abs=1e-6)
    assert found["vector_error"] == pytest.approx(2 * float(label.norm(dim=-1).mean()))


def test_mean_predictor_of_vectors_guesses_mean_length_and_mean_vector():
    train = torch.tensor([[1.0, 0, 0], [3.0, 0, 0]])
    test = torch.tensor([[0, 5.0, 0]])
    found = mean_predictor(get_task("dipole"), train, test)
    assert found == {"norm_mae": 3.0, "vector_error": pytest.approx(29**0.5)}
