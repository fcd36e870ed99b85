import json

import pytest
import torch

from e3hyena.training import load_model
from e3hyena.training.checkpoint import FORMAT_VERSION, save_model
from e3hyena.training.torch_files import write_torch


@pytest.fixture
def content(finished):
    return torch.load(finished / "model.pt", weights_only=True)


def plain(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return type(value) in (str, int, float, torch.Tensor)


def test_a_file_holds_tensors_strings_and_numbers_only(content):
    assert plain(content)
    assert content["format_version"] == FORMAT_VERSION


def test_a_folder_stands_for_its_model(finished):
    by_file, _ = load_model(finished / "model.pt")
    by_folder, info = load_model(finished)
    assert info.elements == [1, 6, 7, 8, 9][: len(info.elements)]
    assert not by_folder.training
    for name, weight in by_file.state_dict().items():
        assert torch.equal(weight, by_folder.state_dict()[name])


def test_saving_what_was_loaded_changes_nothing(finished, content, tmp_path):
    model, info = load_model(finished)
    save_model(tmp_path / "again.pt", model.state_dict(), info)
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert again.keys() == content.keys()
    for name, value in content.items():
        if not isinstance(value, torch.Tensor | dict):
            assert again[name] == value
    for name, weight in content["state_dict"].items():
        assert torch.equal(weight, again["state_dict"][name])


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*none\.pt"):
        load_model(tmp_path / "none.pt")


@pytest.mark.parametrize("damage", ["empty", "half", "text"])
def test_a_damaged_file(finished, tmp_path, damage):
    whole = (finished / "model.pt").read_bytes()
    data = {"empty": b"", "half": whole[: len(whole) // 2], "text": b"hello, world\n" * 9}[damage]
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(ValueError, match="is not a checkpoint of e3hyena, or it is damaged"):
        load_model(tmp_path)


class Foreign:
    """Something that only unsafe unpickling would accept."""


@pytest.mark.parametrize("foreign", [{"state_dict": {}}, [1, 2], {"format": "other"}])
def test_a_foreign_file(tmp_path, foreign):
    torch.save(foreign, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="was not written by e3hyena"):
        load_model(tmp_path)


def test_a_file_with_code_is_not_executed(tmp_path):
    torch.save({"format": Foreign()}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="is not a checkpoint of e3hyena"):
        load_model(tmp_path)


def test_the_state_of_a_trainer_is_not_a_model(finished):
    with pytest.raises(ValueError, match="was not written by e3hyena"):
        load_model(finished / "model" / "last.ckpt")


def test_a_newer_format(content, tmp_path):
    write_torch(tmp_path / "model.pt", {**content, "format_version": FORMAT_VERSION + 1})
    with pytest.raises(ValueError, match=f"format version {FORMAT_VERSION + 1}.*--upgrade"):
        load_model(tmp_path)


def test_weights_of_another_network(content, tmp_path):
    weights = dict(content["state_dict"])
    weights.pop(next(iter(weights)))
    write_torch(tmp_path / "model.pt", {**content, "state_dict": weights})
    with pytest.raises(ValueError, match="do not fit the network of this version"):
        load_model(tmp_path)


def test_flipped_bytes(finished, tmp_path):
    """Damage that keeps the file readable is found by its check sums."""
    content = bytearray((finished / "model.pt").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ValueError, match="or it is damaged"):
        load_model(tmp_path / "model.pt")


def test_a_file_from_before_orders(finished, content, tmp_path):
    kwargs, config = json.loads(content["model_kwargs"]), json.loads(content["config"])
    del kwargs["ordered"], config["data"]["order"]
    old = {**content, "model_kwargs": json.dumps(kwargs), "config": json.dumps(config)}
    write_torch(tmp_path / "model.pt", old)
    model, info = load_model(tmp_path)
    assert info.model_kwargs == kwargs and info.config == config
    new, _ = load_model(finished)
    assert all(map(torch.equal, model.parameters(), new.parameters()))


@pytest.fixture
def exported(finished, tmp_path):
    """The finished model in the other format."""
    pytest.importorskip("safetensors")
    model, info = load_model(finished)
    save_model(tmp_path / "model.safetensors", model.state_dict(), info)
    return tmp_path / "model.safetensors"


def test_safetensors_hold_the_same_model(finished, exported):
    model, info = load_model(finished)
    again, other = load_model(exported)
    mine, theirs = model.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    for mine, theirs in zip(info.scaling, other.scaling, strict=True):
        assert torch.equal(mine, theirs) and theirs.dtype == torch.float64
    for name in ("task", "elements", "model_kwargs", "config", "version"):
        assert getattr(info, name) == getattr(other, name)


def test_safetensors_that_cannot_be_used_are_refused(exported, tmp_path):
    from safetensors.torch import load_file, save_file

    data = exported.read_bytes()
    (tmp_path / "half.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="is not a checkpoint of e3hyena, or it is damaged"):
        load_model(tmp_path / "half.safetensors")
    tensors = load_file(exported)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="was not written by e3hyena"):
        load_model(tmp_path / "other.safetensors")
    header = {"format": '"e3hyena-model"', "format_version": str(FORMAT_VERSION + 1)}
    save_file(tensors, tmp_path / "newer.safetensors", metadata=header)
    with pytest.raises(ValueError, match=r"format version 3.*pip install --upgrade"):
        load_model(tmp_path / "newer.safetensors")
