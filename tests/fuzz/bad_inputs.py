"""Damaged and altered files, configurations and command lines, by kind."""

import contextlib
import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from e3hyena.data.structures import read_structures
from e3hyena.training import TrainConfig, load_model, predict, train
from e3hyena.training.checkpoint import save_model
from e3hyena.training.files import read_json
from e3hyena.training.info import describe
from e3hyena.training.resume import CheckedFiles
from e3hyena.training.torch_files import write_torch
from tests.data.test_fuzz import FILES, WORDS, check_count, damaged
from tests.fuzz.outcomes import Case
from tests.training.conftest import tiny_config
from tests.training.test_damage import V1, WATER, altered, same


def prepare(folder: Path) -> dict[str, Path]:
    """A file of every kind that is trusted later, by name."""
    train(tiny_config(folder / "run"))
    whole = folder / "whole"
    whole.mkdir()
    model, info = load_model(V1)
    save_model(whole / "model.pt", model.state_dict(), info)
    save_model(whole / "model.safetensors", model.state_dict(), info)
    for name in ("model/last.ckpt", "model/fit.json", "results.json", "config.yaml"):
        shutil.copy(folder / "run" / name, whole)
    (whole / "water.xyz").write_text(WATER)
    return {path.name: path for path in whole.iterdir()}


def weights(path: Path) -> Any:
    model, info = load_model(path)
    return {**model.state_dict(), "scale": info.scaling.scale, "elements": info.elements}


READ: dict[str, Callable[[Path], Any]] = {
    "model.pt": weights,
    "model.safetensors": weights,
    "last.ckpt": lambda path: CheckedFiles().load_checkpoint(path),
    "results.json": read_json,
    "fit.json": read_json,
    "config.yaml": TrainConfig.load,
}


def damage(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Bytes with a flipped bit, an end that is missing, or a piece dropped, doubled or foreign."""
    kind = draw.choice(["bit", "bit", "bit", "end", "dropped", "doubled", "zeros", "noise", "more"])
    i = draw.randrange(len(data))
    j = min(len(data), i + draw.choice([1, 8, 512, 4096]))
    if kind == "bit":
        flipped = bytearray(data)
        flipped[i] ^= 1 << draw.randrange(8)
        return f"bit {i}", bytes(flipped)
    middle = {
        "end": b"",
        "dropped": b"",
        "doubled": 2 * data[i:j],
        "zeros": bytes(j - i),
        "noise": draw.randbytes(j - i),
        "more": data[i:j] + draw.randbytes(j - i),
    }[kind]
    return f"{kind} {i}:{j}", data[:i] + middle + (b"" if kind == "end" else data[j:])


def damaged_files(files: dict[str, Path], folder: Path, count: int) -> Iterator[Case]:
    """What is read is what was written, or refused."""
    draw = random.Random(1)
    whole = {name: (files[name].read_bytes(), READ[name](files[name])) for name in READ}
    for i in range(count):
        name = list(READ)[i % len(READ)]
        data, expected = whole[name]
        what, data = damage(data, draw)
        (folder / name).write_bytes(data)

        def use(name: str = name, expected: Any = expected) -> None:
            assert same(READ[name](folder / name), expected), "the content changed silently"

        kind = "safetensors exports" if name.endswith("tensors") else "checkpoints and results"
        yield Case(f"{kind}, damaged", f"{name} {what}", use)


def altered_models(files: dict[str, Path], folder: Path, count: int) -> Iterator[Case]:
    """The digest is right, the description is not: numbers come out, or an error."""
    content = torch.load(files["model.pt"], weights_only=True)
    draw, path = random.Random(2), folder / "model.pt"

    def use() -> None:
        load_model(path)
        describe(path)
        values = predict(path, files["water.xyz"]).values
        assert values.isfinite().all(), "the prediction is no number"

    for i in range(count):
        changed = altered(content, draw)
        write_torch(path, changed if isinstance(changed, dict) else {"format": changed})
        yield Case("checkpoints, altered", f"change {i}", use)


PLAIN = {  # every option has the kind of value that the class says
    name: type(value)
    for name, value in TrainConfig().to_dict().items()
    if isinstance(value, bool | int | float | str)
}
VALUES = [0, -1, 1, 10**30, 0.5, -0.0, float("nan"), float("inf"), True, None, "", "x", "1", [], {}]
VALUES += [
    [1],
    {"a": 1},
    "0e",
    "99999999999x0e",
    "coordinate",
    "\0",
    "null",
    "~",
    "1e5",
    "!!python",
]


def configurations(files: dict[str, Path], folder: Path, count: int) -> Iterator[Case]:
    """An unknown or ill-typed option is an error; what is accepted means the same when saved."""
    import yaml

    draw, path = random.Random(3), folder / "config.yaml"

    def use() -> None:
        config = TrainConfig.load(path)
        for name, kind in PLAIN.items():
            value = getattr(config, name)
            assert value is None or isinstance(value, kind), f"{name}={value!r}"
        config.save(folder / "again.yaml")
        assert TrainConfig.load(folder / "again.yaml") == config, "it changed when it was saved"

    for i in range(count):
        values: dict[str, Any] = TrainConfig().to_dict()
        for _ in range(draw.choice([1, 1, 2])):
            place = values.get(draw.choice(["", "data", "model", "optim"]), values)
            if not isinstance(place, dict):
                continue
            name = draw.choice([*place, "surprise"])
            if draw.random() < 0.1:
                place.pop(name, None)
            else:
                place[name] = draw.choice(VALUES)
        text = yaml.safe_dump(values)
        path.write_text(damaged(text, draw) if i % 2 else text, encoding="utf-8", errors="replace")
        yield Case("configurations", f"change {i}", use)


TABLE = "smiles,gap,name\nCCO,1.5,ethanol\nO,2.5,water\nC1=CC=CC=C1,0.5,benzene\n"
SMILES = "CCO ethanol\nO water\nC1=CC=CC=C1 benzene\n"
MOL = FILES[".sdf"].partition("$$$$")[0]
TEXTS = {**FILES, ".csv": TABLE, ".smi": SMILES, ".mol": MOL}


def molecule_files(files: dict[str, Path], folder: Path, count: int) -> Iterator[Case]:
    """All molecules of the text, or an error that names the file."""
    for seed in range(count):
        suffix = sorted(TEXTS)[seed % len(TEXTS)]
        path = folder / f"molecules{suffix}"
        text = damaged(TEXTS[suffix], random.Random(10**6 + seed))

        def use(path: Path = path, text: str = text) -> None:
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            try:
                found = read_structures(path)
            except ValueError as error:
                if path.name not in str(error):
                    raise RuntimeError(f"the file is not named: {error}") from error
                raise
            assert found, "no molecules, and no error"
            check_count(path, [len(structure.atoms) for structure in found])
            for structure in found:
                assert ((0 < structure.atoms.numbers) & (structure.atoms.numbers < 119)).all()

        yield Case(f"molecules, {suffix}", f"seed {seed}", use)


class Refused(Exception):
    """A command that ended with one line on the standard error."""


def run_command(words: list[str], keep: list[Path]) -> None:
    """Refused with one line, or done; nothing that was there is overwritten."""
    from e3hyena.cli import main

    before = _digests(keep)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as stop:  # --help
            code = int(stop.code or 0)
    assert _digests(keep) == before, "an input was overwritten"
    text = err.getvalue()
    if code:
        last = text.strip().rpartition("\n")[2]
        if "Traceback" in text or "unexpected" in last or not last.startswith("e3hyena: error: "):
            raise RuntimeError(text[-300:])
        raise Refused(last)
    assert out.getvalue().strip(), "nothing was said"


def _digests(files: list[Path]) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def command_lines(files: dict[str, Path], folder: Path, count: int) -> Iterator[Case]:
    """Words exchanged, dropped, doubled and made up; `train` never finds its data."""
    draw, keep = random.Random(4), list(files.values())
    model, water = str(files["model.pt"]), str(files["water.xyz"])
    lines = [
        ["info", model],
        ["export", model, "--output", str(folder / "out.safetensors")],
        ["predict", model, water, "--output", str(folder / "out.csv"), "--batch_size", "2"],
        ["predict", model, water, "--format", "json"],
        ["data", "describe", "--source", "extxyz", "--root", water],
        ["data", "list"],
        ["train", "--output", str(folder / "out"), "--model.num_layers", "1", "--seed=1"],
        ["train", "--config", str(files["config.yaml"]), "--optim.lr=1e-3", "--task", "forces"],
    ]
    odd = ["", "-", "--", "-1", "nan", "null", "[]", "{}", "\0", "é", "x" * 5000, model, water]
    odd += ["--seed", "--help", "--output", "--lr=1", "--no-such", "@file", "--config", str(folder)]
    odd += [word for word in WORDS if word] + ["--debug=1", "--print_config", "--model.mixer=x"]
    for _ in range(count):
        words = list(draw.choice(lines))
        for _change in range(draw.choice([1, 1, 2, 3])):
            j = draw.randrange(len(words) + 1)
            kind = draw.randrange(4)
            if kind == 0 or j == len(words):
                words.insert(j, draw.choice(odd))
            elif kind == 1:
                del words[j]
            elif kind == 2:
                words[j] = draw.choice(odd)
            else:
                words[j] = words[j][: draw.randrange(len(words[j]) + 1)]
        words = [word for word in words if word != "--debug"]  # which asks for a traceback
        if words[:1] == ["train"]:
            words += ["--data.source=extxyz", f"--data.root={folder / 'missing.extxyz'}"]
        if words[:2] == ["data", "fetch"]:
            continue

        def use(words: list[str] = words) -> None:
            run_command(words, keep)

        yield Case("command lines", json.dumps(words)[:200], use, (Refused,))


# What makes cases of a kind, and how many of them.
PARTS: dict[str, tuple[Callable[[dict[str, Path], Path, int], Iterator[Case]], int]] = {
    "damaged": (damaged_files, 3000),
    "altered": (altered_models, 1000),
    "configurations": (configurations, 500),
    "molecules": (molecule_files, 6000),
    "commands": (command_lines, 600),
}
