import json

import yaml

from e3hyena.training.info import describe
from e3hyena.training.model_card import render_card


def test_the_card_says_what_a_reader_must_know(finished):
    card = (finished / "MODEL_CARD.md").read_text()
    results = json.loads((finished / "results.json").read_text())
    assert card == render_card(results)
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "e3hyena"
    row = results["rows"]["model"]
    for text in (
        "QM9Extract", "20 train, 6 val, 6 test", "licence of the data: MIT", "seed 0",
        f"{row['test']['norm_mae']:.4g}", f"{row['parameters']:,} parameters",
        "permutations of the atoms", "torch 2",
    ):  # fmt: skip
        assert text in card, text


def test_an_order_is_named(finished):
    results = json.loads((finished / "results.json").read_text())
    results["config"]["model"]["mixer"] = "query_key"
    results["config"]["data"]["order"] = "spectral"
    card = render_card(results)
    assert "depends on the order of the atoms (order: spectral)" in card
    assert "permutations" not in card


def test_forces_have_their_unit(finished_forces):
    card = (finished_forces / "MODEL_CARD.md").read_text()
    assert "forces in eV/Angstrom" in card and "force component, MAE (eV/A)" in card


def test_info_tells_task_data_licence_and_errors(finished, tmp_path):
    text = describe(finished)
    results = json.loads((finished / "results.json").read_text())
    for part in (
        "dipole in D", "4x0e + 4x1o -> 1o", "coordinate", "QM9Extract, 20 of the training part",
        "licence", f"{results['rows']['model']['test']['norm_mae']:.4g}",
    ):  # fmt: skip
        assert part in text, part
    (tmp_path / "alone.pt").write_bytes((finished / "model.pt").read_bytes())
    assert "test errors" not in describe(tmp_path / "alone.pt")
