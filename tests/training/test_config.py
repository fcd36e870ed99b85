import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from e3hyena.registry import CATALOGUE, MIXERS, ORDERS
from e3hyena.training import PRESETS, DataConfig, ModelConfig, OptimConfig, TrainConfig

positive = st.floats(1e-6, 10.0)
configs = st.builds(
    TrainConfig,
    task=st.sampled_from(["dipole", "gap", "U0"]),
    seed=st.integers(0, 2**31),
    max_minutes=st.none() | positive,
    compare_without_mixer=st.booleans(),
    data=st.builds(
        DataConfig,
        train_size=st.none() | st.integers(1, 10**6),
        order=st.sampled_from([None, *ORDERS]),
    ),
    model=st.builds(
        ModelConfig,
        mixer=st.sampled_from([None, "filter", "attention"]),
        cutoff=st.none() | positive,
        mixer_options=st.dictionaries(st.text("abc", min_size=1), st.integers() | st.booleans()),
    ),
    optim=st.builds(OptimConfig, lr=positive, schedule=st.sampled_from(["cosine", "one_cycle"])),
)


@given(configs)
def test_yaml_round_trip(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    config.save(path)
    assert TrainConfig.load(path) == config
    assert not config.differences(TrainConfig.load(path))


def test_json_is_read_too(tmp_path):
    path = tmp_path / "config.json"
    config = TrainConfig(seed=3, model=ModelConfig(mixer=None, mixer_options={"heads": 2}))
    path.write_text(json.dumps(config.to_dict()))
    assert TrainConfig.load(path) == config


def test_what_is_absent_keeps_its_default():
    assert TrainConfig.from_dict({"optim": {"lr": 0.5}}) == TrainConfig(optim=OptimConfig(lr=0.5))


@pytest.mark.parametrize(
    "values, named",
    [
        ({"epochs": 3}, "epochs"),
        ({"optim": {"epoch": 3}}, "epoch"),
        ({"optim": {"epochs": "many"}}, "optim.epochs"),
        ({"model": {"mixer": "fliter"}}, "model.mixer"),
        ({"data": {"source": "qm10"}}, "data.source"),
        ({"optim": {"lr": -1.0}}, "optim.lr"),
        ({"optim": {"ema_decay": 1.0}}, "optim.ema_decay"),
        ({"data": {"order": "residues"}}, "data.order"),
        ({"data": {"train_size": 0}}, "data.train_size"),
        ({"model": {"cutoff": -3.0}}, "model.cutoff"),
        ({"max_minutes": 0.0}, "max_minutes"),
    ],
)
def test_wrong_values_are_named(values, named):
    with pytest.raises(ValueError, match=named.replace(".", r"\.")):
        TrainConfig.from_dict(values)


@pytest.mark.parametrize("text", ["", "[1, 2]", "seed: [", "seed: 1\nsede: 2\n"])
def test_files_that_are_no_configuration(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml' is not a training configuration"):
        TrainConfig.load(path)


def test_differences_leave_out_where_a_run_happens():
    here = TrainConfig(output="a", checkpoint_minutes=1.0, accelerator="cpu")
    there = TrainConfig(output="b", model=ModelConfig(mixer_options={"heads": 8}))
    assert here.differences(there) == ["model.mixer_options.heads: None, not 8"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_a_file(tmp_path, name):
    PRESETS[name].save(tmp_path / "config.yaml")
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert TrainConfig.from_dict(values) == PRESETS[name]


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_may_be_chosen(name):
    assert TrainConfig.from_dict({"model": {"mixer": name}}).model.mixer == name


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_data_set_may_be_chosen(name):
    assert TrainConfig.from_dict({"data": {"source": name}}).data.source == name


@pytest.mark.parametrize("group", ["data", "model", "optim"])
@pytest.mark.parametrize("value", [None, 0.5, True, [], "x"])
def test_a_group_of_options_is_a_mapping(group, value):
    with pytest.raises(ValueError, match=group):
        TrainConfig.from_dict({group: value})


@pytest.mark.parametrize(
    ("group", "name"),
    [("optim", "epochs"), ("optim", "lr"), ("model", "num_layers"), ("data", "source")],
)
def test_null_is_an_error_where_something_is_needed(group, name):
    with pytest.raises(ValueError, match=rf"{name}.*"):
        TrainConfig.from_dict({group: {name: None}})
    with pytest.raises(ValueError, match="seed = None: must be given, not null"):
        TrainConfig.from_dict({"seed": None})
    assert TrainConfig.from_dict({"model": {"mixer": None}}).model.mixer is None
