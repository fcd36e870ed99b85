import json
import os
import subprocess
import sys

import pytest
import torch

from e3hyena.cli import main
from e3hyena.ops.neighbours import neighbours
from e3hyena.training import load_predictor, predict

from ..training.conftest import finished, tiny_config  # noqa: F401  the fixture

CH4 = "5\n\nC 0 0 0\nH .6 .6 .6\nH -.6 -.6 .6\nH .6 -.6 -.6\nH -.6 .6 -.6\n"
TINY = [
    "--data.train_size=16",
    "--data.val_size=4",
    "--data.test_size=4",
    "--model.irreps_hidden=4x0e+4x1o",
    "--model.num_layers=1",
    "--optim.epochs=1",
    "--accelerator=cpu",
]


@pytest.fixture
def methane(tmp_path):
    path = tmp_path / "methane.xyz"
    path.write_text(CH4)
    return path


@pytest.fixture
def fails(capsys):
    """Run a command that must fail with one line on standard error."""

    def run(*words, code=1):
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        out, err = capsys.readouterr()
        assert err.startswith("e3hyena: error: ") and err.count("\n") == 1, err
        assert "Traceback" not in err and not out, out
        return err

    return run


# Nothing beyond the core may be needed to show help; and what is missing is named.
WITHOUT_EXTRAS = """
import sys
for name in ("lightning", "lightning.pytorch", "matplotlib", "ase", "rdkit", "pandas"):
    sys.modules[name] = None
from e3hyena.cli import main
for words in (["--help"], ["train", "--help"], ["predict", "--help"], ["data", "--help"],
              ["data", "fetch", "--help"], ["info", "--help"]):
    try:
        main(words)
        raise AssertionError(words)
    except SystemExit as stop:
        assert not stop.code, words
sys.exit(main(["train", "--output", sys.argv[1]]))
"""


def test_help_works_without_extras_and_a_missing_one_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "pip install 'e3hyena[train]'" in done.stderr
    assert "default: 0.002" in done.stdout and "(angstrom)" in done.stdout
    assert os.listdir(tmp_path) == []


def test_shells_can_complete_commands_and_options():
    pytest.importorskip("shtab")
    done = subprocess.run(
        [sys.executable, "-m", "e3hyena", "--print_completion", "shtab-bash"],
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("train", "export", "--optim.epochs", "--source"):
        assert word in done.stdout


def test_help_of_a_preset_shows_its_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--preset", "demo", "--help"])
    assert stop.value.code == 0
    assert "runs/demo" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("e3hyena ")


def test_train_predict_info(tmp_path, methane, capsys):
    run = tmp_path / "run"
    config = tmp_path / "config.yaml"
    config.write_text("seed: 4\noptim:\n  batch_size: 8\n  lr: 0.5\n")
    assert (
        main(["train", "--config", str(config), "--output", str(run), *TINY, "--optim.lr=0.01"])
        == 0
    )
    shown = capsys.readouterr().out
    assert "mean predictor" in shown and str(run / "parity.png") in shown
    used = json.loads((run / "results.json").read_text())["config"]
    assert (used["seed"], used["optim"]["batch_size"], used["optim"]["lr"]) == (4, 8, 0.01)

    assert main(["predict", str(run), str(methane), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["unit"] == "D"
    assert main(["predict", str(run), str(methane), "--output", str(tmp_path / "out.txt")]) == 0
    assert "(D)" in (tmp_path / "out.txt").read_text()
    capsys.readouterr()
    assert main(["info", str(run)]) == 0
    assert "dipole in D" in capsys.readouterr().out


def test_export_to_safetensors_and_back(finished, tmp_path, methane, capsys):  # noqa: F811
    pytest.importorskip("safetensors")
    safe, again = tmp_path / "model.safetensors", tmp_path / "again.pt"
    assert main(["export", str(finished), "--output", str(safe)]) == 0
    assert main(["export", str(safe), "--output", str(again)]) == 0
    capsys.readouterr()
    texts = []
    for path in (finished / "model.pt", safe, again):
        assert main(["predict", str(path), str(methane), "--format", "json"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.slow
def test_export_hands_the_network_in_units_to_the_compiler(
    finished_forces, labelled_molecules, tmp_path, monkeypatch
):
    """Which takes minutes: tests/models/test_exported.py runs it, here is what it is given."""
    given = {}
    monkeypatch.setattr(
        "e3hyena.models.save_package", lambda what, path: given.update({path: what})
    )
    path = tmp_path / "potential.pt2"
    assert not main(["export", str(finished_forces), "--output", str(path)])
    program, predictor = given[path].module(), load_predictor(finished_forces)
    for atoms in labelled_molecules[:3]:
        z, pos = torch.tensor(atoms.numbers).long(), torch.tensor(atoms.positions).float()
        edge_index, _ = neighbours(pos, predictor.model.cutoff)
        energy, forces = program(z, pos, torch.zeros_like(z), edge_index)
        expected = predictor.energy_and_forces(z, pos)
        assert energy.item() == pytest.approx(expected[0].item(), rel=1e-6)
        torch.testing.assert_close(forces.to(expected[1]), expected[1], rtol=1e-5, atol=1e-5)
        values = predict(finished_forces, atoms).values
        assert energy.item() == pytest.approx(values.item(), rel=1e-6)


def test_export_wants_a_known_format(finished, fails):  # noqa: F811
    assert "must end in .safetensors, .pt or .pt2" in fails(
        "export", finished, "--output", "model.onnx"
    )


def test_data_list_names_sources_sizes_and_licences(capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    for text in ("QM9Extract", "104 MB", "MD17Ethanol", "54 MB", "ExtXYZ", "licence"):
        assert text in out


def test_data_describe_of_a_file(finished_forces, fails, capsys):
    path = finished_forces.parent / "molecules.extxyz"
    assert main(["data", "describe", "--source", "extxyz", "--root", str(path)]) == 0
    assert "40 molecules" in capsys.readouterr().out
    assert "needs --root" in fails("data", "describe", "--source", "extxyz")


def test_data_describe(capsys):
    assert main(["data", "describe"]) == 0
    assert "16,000 molecules" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, named",
    [
        ([], "train"),
        (["trian"], "trian"),
        (["train", "--optim.lr", "fast"], "optim.lr"),
        (["train", "--epochs", "3"], "--epochs"),
        (["train", "--preset", "huge"], "huge"),
        (["train", "--config", "none.yaml"], "none.yaml"),
        (["predict", "model.pt"], "files, after the checkpoint or --pretrained"),
        (["data", "destroy"], "destroy"),
    ],
)
def test_wrong_arguments(fails, words, named):
    assert named in fails(*words, code=2)


@pytest.mark.parametrize(
    "words, meant",
    [
        (["train", "--lr", "1e-3"], "--optim.lr"),
        (["train", "--data.epochs=3"], "--optim.epochs"),
        (["train", "--model.mixr", "filter", "--outptu", "x"], "--model.mixer and --output"),
        (["predict", "model.pt", "a.xyz", "--batchsize", "3"], "--batch_size"),
        (["data", "describe", "--sources", "qm9"], "--source"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(fails, words, meant):
    assert f"did you mean {meant}?" in fails(*words, code=2)


def test_the_ending_of_the_output_decides_its_format(finished, methane, tmp_path, fails, capsys):  # noqa: F811
    for name, begins in {"a.json": "{", "a.csv": "file,", "a.xyz": "5\n", "a.txt": " "}.items():
        assert main(["predict", str(finished), str(methane), "--output", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text().startswith(begins), name
    forced = ["--format", "json", "--output", str(tmp_path / "b.csv")]
    assert main(["predict", str(finished), str(methane), *forced]) == 0
    assert json.loads((tmp_path / "b.csv").read_text())["unit"] == "D"
    assert "must end in one of" in fails("predict", finished, methane, "--output", "a.docx")


def test_wrong_values(fails, tmp_path):
    run = tmp_path / "run"
    assert "optim.lr = -1.0: must be positive" in fails("train", "--optim.lr", "-1")
    assert "task 'nu' is unknown" in fails("train", "--task", "nu", "--output", run)
    assert "4xx" in fails("train", "--model.irreps_hidden", "4xx", "--output", run)
    assert "has 12000" in fails("train", "--data.train_size", "99999", "--output", run)


def test_an_output_folder_that_cannot_be_written(fails, tmp_path):
    (tmp_path / "file").touch()
    error = fails("train", *TINY, "--output", tmp_path / "file" / "run")
    assert "cannot write to the folder" in error and "choose another" in error


def test_an_output_folder_of_another_run(fails, finished):  # noqa: F811
    assert "choose another output folder" in fails("train", *TINY, "--output", finished)


def test_checkpoints_that_cannot_be_used(fails, finished, methane, tmp_path):  # noqa: F811
    assert "there is no checkpoint" in fails("predict", tmp_path / "none.pt", methane)
    assert "not a checkpoint of e3hyena" in fails("predict", methane, methane)
    assert "was not written by e3hyena" in fails("info", finished / "model" / "last.ckpt")


def test_molecules_that_cannot_be_used(fails, finished, methane):  # noqa: F811
    output = methane.with_name("out.json")
    for text, message in {
        "": "is empty",
        CH4.replace("C", "Qq"): "unknown element 'Qq'",
        CH4.replace("C", "Si"): "element Si was not in the training set",
        CH4.replace("C 0", "C nan"): "is not finite",
        CH4[:20]: "cannot be read",
    }.items():
        methane.write_text(text)
        error = fails("predict", finished, methane, "--format", "json", "--output", output)
        assert message in error and "methane.xyz" in error
    assert not output.exists()


def test_predictions_never_replace_their_input(fails, finished, methane):  # noqa: F811
    assert "one of the inputs" in fails("predict", finished, methane, "--output", methane)
    assert methane.read_text() == CH4


def test_an_existing_file_survives_an_error(fails, finished, methane, tmp_path):  # noqa: F811
    output = tmp_path / "out.txt"
    output.write_text("precious")
    methane.write_text("")
    fails("predict", finished, methane, "--output", output)
    assert output.read_text() == "precious"


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["info", str(tmp_path / "none.pt"), "--debug"])


def test_the_config_beside_a_run_continues_it(finished, capsys):  # noqa: F811
    assert main(["train", "--config", str(finished / "config.yaml")]) == 0
    assert "this run is finished" in capsys.readouterr().out
    assert tiny_config(finished).differences(tiny_config(finished)) == []
