import pytest

from e3hyena.training.config import DataConfig, ModelConfig, TrainConfig
from e3hyena.training.plan import resolve


def test_pooling_follows_the_property_unless_it_is_given():
    assert resolve(TrainConfig(task="gap")).model["pool"] == "mean"
    assert resolve(TrainConfig(task="U0")).model["pool"] == "sum"
    chosen = TrainConfig(task="gap", model=ModelConfig(pool="sum", mixer_options={"heads": 2}))
    assert resolve(chosen).model["pool"] == "sum"
    assert resolve(chosen).model["mixer_options"] == {"heads": 2}


@pytest.mark.parametrize(("order", "ordered"), [(None, False), ("given", True)])
def test_an_order_is_said_to_the_network(order, ordered):
    assert resolve(TrainConfig(data=DataConfig(order=order))).model["ordered"] is ordered


@pytest.mark.parametrize(
    "data, named",
    [
        (DataConfig(source="qm9"), r"QM9 needs data\.root, its folder; `e3hyena data fetch`"),
        (DataConfig(source="qm9", root="here", options={"unit": "eV"}), "has no option 'unit'"),
        (DataConfig(options={"unit": "eV"}), r"has no option 'unit' \(it has none\)"),
        (DataConfig(source="own", root="here"), r"'gap' is none .* \(none\): say --data\.opt"),
        (
            DataConfig(source="own", root="here", options={"targets": {"logp": {}}}),
            r"'gap' is none of the targets in data\.options \(logp\)",
        ),
    ],
)
def test_a_data_set_says_what_it_misses(data, named):
    with pytest.raises(ValueError, match=named):
        resolve(TrainConfig(task="gap", data=data))


def test_a_comparison_is_the_same_network_without_its_mixer():
    plan = resolve(TrainConfig(compare_without_mixer=True))
    assert list(plan.trainings) == ["model", "without_mixer"]
    local = plan.trainings["without_mixer"]
    assert local.model == {**plan.model, "mixer": None}
    assert (plan.title, local.title) == ("coordinate mixer", "without mixer")
    assert list(resolve(TrainConfig()).trainings) == ["model"]
