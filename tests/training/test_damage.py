"""Files that were damaged or altered: an error that says so, never a silent use."""

import json
import random
import shutil
import time
from pathlib import Path

import pytest
import torch

from e3hyena._digest import with_digest
from e3hyena.training import OptimConfig, TrainConfig, load_model, predict, train
from e3hyena.training.checkpoint import save_model
from e3hyena.training.files import read_json, read_text, write_json, write_text
from e3hyena.training.info import describe
from e3hyena.training.resume import CheckedFiles
from e3hyena.training.torch_files import write_torch

FLIPS = [10, pytest.param(150, marks=pytest.mark.slow)]
V1 = Path(__file__).parent / "files" / "model_v1.pt"
WATER = "3\n\nO 0 0 0.1\nH 0.8 0 -0.5\nH -0.8 0.1 -0.5\n"


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory) -> dict[str, Path]:
    """A small file of every kind that is trusted later."""
    pytest.importorskip("safetensors")
    folder = tmp_path_factory.mktemp("whole")
    model, info = load_model(V1)
    save_model(folder / "model.pt", model.state_dict(), info)
    save_model(folder / "model.safetensors", model.state_dict(), info)
    shutil.copy(finished / "model" / "last.ckpt", folder)
    for name in ("results.json", "config.yaml", "model/fit.json"):
        shutil.copy(finished / name, folder)
    return {path.name: path for path in folder.iterdir()}


READ = {
    "model.pt": lambda path: load_model(path)[0].state_dict(),
    "model.safetensors": lambda path: load_model(path)[0].state_dict(),
    "last.ckpt": lambda path: CheckedFiles().load_checkpoint(path),
    "results.json": read_json,
    "fit.json": read_json,
    "config.yaml": TrainConfig.load,
}


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("count", FLIPS)
@pytest.mark.parametrize("name", READ)
def test_a_flipped_bit_changes_nothing_silently(whole, tmp_path, name, count):
    """It is an error, or, where the bit says nothing, the content is the same to the last bit."""
    data, expected = bytearray(whole[name].read_bytes()), READ[name](whole[name])
    draw = random.Random(name)
    found = 0
    for _ in range(count):
        bit = draw.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path = tmp_path / name
        path.write_bytes(data)
        try:
            assert same(READ[name](path), expected), f"bit {bit} changed the content silently"
        except ValueError:
            found += 1
        data[bit // 8] ^= 1 << bit % 8
    print(f"{name}: {found} of {count} flipped bits are errors, the others change nothing")
    assert found >= 0.7 * count


def test_a_damaged_checkpoint_says_what_is_intact(tiny, tmp_path):
    config = tiny(optim=OptimConfig(epochs=1, batch_size=20))
    train(config)
    for name in ("results.json", "model/fit.json"):
        (tmp_path / "run" / name).unlink()
    path = tmp_path / "run" / "model" / "last.ckpt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"last\.ckpt' is damaged .*delete it.*model\.pt'.*intact"):
        train(config)
    path.unlink()
    train(config)


def test_a_checkpoint_altered_through_torch_is_noticed(finished, tmp_path):
    content = torch.load(finished / "model" / "last.ckpt", weights_only=True)
    content["global_step"] += 1
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="does not fit its digest"):
        CheckedFiles().load_checkpoint(tmp_path / "last.ckpt")
    del content["sha256"]  # as in early files
    torch.save(content, tmp_path / "last.ckpt")
    CheckedFiles().load_checkpoint(tmp_path / "last.ckpt")


def test_a_model_altered_through_torch_is_noticed(whole, tmp_path):
    content = torch.load(whole["model.pt"], weights_only=True)
    for change in ({"unit": "eV"}, {"sha256": "0" * 64}, {"scale": content["scale"] * 2}):
        torch.save({**content, **change}, tmp_path / "model.pt")
        with pytest.raises(ValueError, match=r"was changed since it was written.*digest"):
            load_model(tmp_path / "model.pt")
    del content["sha256"]
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="has lost its digest"):
        load_model(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["model_v1.pt", "model_v2.pt", "model_v2.safetensors"])
def test_files_of_every_format_load(tmp_path, name):
    """One of each is kept as it was written; format 1 had no digest."""
    path = V1.with_name(name)
    if path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        assert content["format_version"] == int(path.stem[-1])
        assert ("sha256" in content) == (content["format_version"] > 1)
    else:
        pytest.importorskip("safetensors")
    (tmp_path / "water.xyz").write_text(WATER)
    found = predict(path, [tmp_path / "water.xyz"]).values
    assert found[0].tolist() == pytest.approx([-8.1e-03, -1.6e-03, 2.49e-02], abs=1e-4)


def test_both_formats_have_one_digest(whole):
    from safetensors import safe_open

    with safe_open(whole["model.safetensors"], framework="pt") as file:
        found = json.loads(file.metadata()["sha256"])
    assert found == torch.load(whole["model.pt"], weights_only=True)["sha256"]


ARGUMENTS = {
    "irreps_hidden": [
        "0x0e",
        "",
        "2x0e",
        "3x0e+2x1o",
        "2x0e+2x1o+2x1e",
        "9x0e+9x12e",
        7,
        None,
        "?",
    ],
    "irreps_out": ["0e", "", "1o+1o", "99x1o", 3, None],
    "num_layers": [0, 2, -1, 10**9, 1.0, "1", True, None],
    "mixer": [None, "filter", "convolution", 1, ["coordinate"]],
    "cutoff": [-1.0, 0, float("nan"), float("inf"), "3", None, True],
    "pool": ["max", 1],
    "ordered": [1, "yes", None],
    "boundary": ["circular", "up", 1],
    "short_conv": [-1, 3, 10**9, "3"],
    "mixer_options": [
        {"heads": 10**9},
        {"modes": 10**12},
        {"modes": 0},
        {"degree": 9},
        {"x": 1},
        [],
    ],
    "surprise": [1],
}


@pytest.mark.filterwarnings("ignore:.*depends on the order")
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in ARGUMENTS for value in ARGUMENTS[name]]
)
def test_arguments_that_do_not_fit_the_weights_are_refused(whole, tmp_path, name, value):
    """Although the digest is right, and without building what they ask for."""
    content = torch.load(whole["model.pt"], weights_only=True)
    kwargs = {**json.loads(content["model_kwargs"]), name: value}
    write_torch(tmp_path / "model.pt", {**content, "model_kwargs": json.dumps(kwargs)})
    with pytest.raises(ValueError, match="cannot be used"):
        load_model(tmp_path / "model.pt")


def nan_weights(content):
    weights = {name: weight.clone() for name, weight in content["state_dict"].items()}
    next(iter(weights.values())).view(-1)[3] = float("nan")
    return {"state_dict": weights}


def huge_weights(content):
    first = next(iter(content["state_dict"]))
    return {"state_dict": {**content["state_dict"], first: torch.zeros(1).expand(10**12)}}


@pytest.mark.parametrize(
    "change",
    [
        nan_weights,
        huge_weights,
        {"state_dict": {}},
        {"state_dict": []},
        {"scale": torch.tensor(float("inf"))},
        {"scale": torch.tensor(-1.0)},
        {"scale": 1.0},
        {"shift": torch.zeros(2)},
        {"atom_shift": torch.zeros(7)},
        {"elements": []},
        {"elements": [0]},
        {"elements": [119]},
        {"elements": [1, 1]},
        {"elements": ["H"]},
        {"elements": "CH"},
        {"task": "gap"},
        {"task": "dipol"},
        {"task": ["dipole"]},
        {"unit": "eV"},
        {"unit": 3},
        {"model_kwargs": "{"},
        {"model_kwargs": "[" * 100_000},
        {"model_kwargs": "[1]"},
        {"model_kwargs": None},
        {"config": "[]"},
        {"config": '{"data": 3}'},
        {"config": '{"data": {"order": "backwards"}}'},
        {"config": '{"data": {"order": ["given"]}}'},
        {"e3hyena_version": 2},
        {"format_version": 0},
        {"format_version": "2"},
        {"format_version": True},
    ],
    ids=lambda change: str(change)[:40] if isinstance(change, dict) else change.__name__,
)
def test_descriptions_that_cannot_be_are_refused(whole, tmp_path, change):
    content = torch.load(whole["model.pt"], weights_only=True)
    changed = {**content, **(change(content) if callable(change) else change)}
    if change is huge_weights:
        torch.save(changed, tmp_path / "model.pt")
    else:
        write_torch(tmp_path / "model.pt", changed)
    with pytest.raises(ValueError, match=r"model\.pt' (cannot be used|has format|is not a)"):
        load_model(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["task", "scale", "elements", "state_dict", "config"])
def test_what_is_missing_is_named(whole, tmp_path, name):
    content = torch.load(whole["model.pt"], weights_only=True)
    del content[name]
    write_torch(tmp_path / "model.pt", content)
    with pytest.raises(ValueError, match=name):
        load_model(tmp_path / "model.pt")


def test_altered_json_is_noticed(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1.5, "b": [None, {"c": "text"}]})
    assert read_json(path, "a") == {"a": 1.5, "b": [None, {"c": "text"}]}
    path.write_text(path.read_text().replace("1.5", "1.6"))
    with pytest.raises(ValueError, match=r"a\.json' is damaged .*digest"):
        read_json(path)
    for text in ("[1]", '{"b": 1}', "[" * 100_000, "\ufeff"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"a\.json' is damaged"):
            read_json(path, "a")
    path.write_text('{"a": 1}')  # without a digest, as in early files
    assert read_json(path, "a") == {"a": 1}


def test_altered_text_is_noticed(tmp_path):
    path = tmp_path / "a.yaml"
    write_text(path, "seed: 1\n", sealed=True)
    seal, text, again = whole = read_text(path).splitlines(keepends=True)
    assert seal.startswith("# sha256 ") and (text, again) == ("seed: 1\n", seal)
    for lines in (whole[1:], whole[:-1]):  # early files have the last one only
        path.write_text("".join(lines))
        assert read_text(path) == "".join(lines)
    for lines in ([seal, "seed: 2\n", seal], [seal], [seal, "seed: 2\n"], ["seed: 2\n", seal]):
        path.write_text("".join(lines))
        with pytest.raises(ValueError, match="delete the lines '# sha256' at its beginning"):
            read_text(path)
    path.write_text("seed: 2\n")
    assert read_text(path) == "seed: 2\n"


def test_a_digest_tells_values_apart():
    values = [0, 0.0, -0.0, False, None, "", "0", [], [0], [[0]], {}, {"0": 0}, {0: 0}]
    values += [torch.zeros(1), torch.zeros(1, 1), torch.zeros(1).double(), torch.zeros(())]
    digests = {with_digest({"x": value})["sha256"] for value in values}
    assert len(digests) == len(values)
    with pytest.raises(TypeError, match="no digest"):
        with_digest({"x": object()})


ODD = [None, True, -1, 0, 1, 3, 10**9, 10**30, 0.5, -2.5, float("nan"), float("inf")]
ODD += ["", "0e", "1o", "5x0e+3x1o", "999999999x0e", "coordinate", "filter", "given", "rdkit"]
ODD += ["eV", "\0", "x" * 9, [], {}, [1, 6], ["0e"], {"heads": 2}, {"modes": 10**9}]
ODD += [torch.zeros(3), torch.ones(119, 5)]


def altered(value, draw: random.Random):
    """`value` with one thing in it exchanged, dropped, doubled or swapped."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(sorted(value))
        changed = dict(value)
        kind = draw.random()
        if kind < 0.1:
            del changed[name]
        elif kind < 0.2:
            changed[name] = value[draw.choice(sorted(value))]
        elif isinstance(value[name], str) and value[name][:1] == "{":
            inside = altered(json.loads(value[name]), draw)
            plain = not isinstance(inside, torch.Tensor)
            changed[name] = json.dumps(inside, default=str) if plain else "{"
        else:
            changed[name] = altered(value[name], draw)
        return changed
    if isinstance(value, torch.Tensor) and value.numel() and draw.random() < 0.5:
        return draw.choice([value.double(), value.flatten(), value[..., None], value * 2, -value])
    return draw.choice(ODD)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*depends on the order")
def test_altered_descriptions_are_values_or_clear_errors(whole, tmp_path):
    """The digest is right: what is read is used within seconds, or refused as a ValueError."""
    content = torch.load(whole["model.pt"], weights_only=True)
    (tmp_path / "water.xyz").write_text(WATER)
    draw, refused, slowest, count = random.Random(0), 0, 0.0, 600
    for _ in range(count):
        changed = altered(content, draw)
        if not isinstance(changed, dict):
            changed = {"format": changed}
        write_torch(tmp_path / "model.pt", changed)
        start = time.process_time()
        try:
            load_model(tmp_path / "model.pt")
            describe(tmp_path / "model.pt")
            values = predict(tmp_path / "model.pt", [tmp_path / "water.xyz"]).values
            assert values.isfinite().all()
        except ValueError:
            refused += 1
        slowest = max(slowest, time.process_time() - start)
    print(f"{refused} of {count} altered files are refused, slowest {slowest:.1f} s")
    assert slowest < 5 and refused > count / 2
