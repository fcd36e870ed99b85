"""A mixer and a data set of one's own: one class and one line each, then the command line."""

import json

import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset

from e3hyena.cli import main
from e3hyena.data import Entry, Target
from e3hyena.mixers import Mixer, mixer_table
from e3hyena.registry import CATALOGUE, MIXERS


class Mean(Mixer):
    """Every token receives the mean value of its graph."""

    companion = "q"
    cost = "O(N)"
    purpose = "tests"

    def __init__(self, hidden, *, factor: float = 1.0) -> None:
        super().__init__(hidden)
        self.factor = factor

    def forward(self, q, k, v, segments):
        index = segments.index
        total = v.new_zeros(*v.shape[:2], segments.num_graphs).index_add(-1, index, v)
        count = v.new_zeros(segments.num_graphs).index_add(0, index, v.new_ones(v.shape[-1]))
        return self.factor * (total / count)[..., index]


class Pairs(InMemoryDataset):
    """Two atoms of hydrogen, at distances that their target is."""

    def __init__(self, split=None, transform=None, *, longest: float = 3.0) -> None:
        super().__init__(None, transform)
        distances = torch.linspace(0.5, longest, 20)["train val test".split().index(split) :: 3]
        items = [
            Data(z=torch.tensor([1, 1]), pos=torch.tensor([[0.0, 0, 0], [0, 0, d]]), bond=d[None])
            for d in distances
        ]
        self.data, self.slices = self.collate(items)


@pytest.fixture
def registered():
    MIXERS.register("mean", Mean)
    bond = Target("bond", "A", "0e", None, "distance of two atoms")
    CATALOGUE.register(
        "pairs",
        Entry(Pairs, lambda options: {"bond": bond}, "20 pairs", "bonds", "", "nobody", "none"),
    )
    yield
    MIXERS.unregister("mean")
    CATALOGUE.unregister("pairs")


def test_both_train_from_the_command_line(registered, tmp_path, capsys):
    run, pair = tmp_path / "run", tmp_path / "pair.xyz"
    words = ["--task=bond", "--data.source=pairs", '--data.options={"longest": 2.0}']
    words += ["--model.mixer=mean", '--model.mixer_options={"factor": 0.5}', "--accelerator=cpu"]
    words += ["--model.irreps_hidden=4x0e+4x1o", "--optim.epochs=2", f"--output={run}"]
    assert main(["train", *words]) == 0, capsys.readouterr().err
    results = json.loads((run / "results.json").read_text())
    assert (results["mixer"], results["unit"], results["train_size"]) == ("mean", "A", 7)
    card = (run / "MODEL_CARD.md").read_text()
    assert "mixer mean" in card and "Pairs: bonds" in card

    capsys.readouterr()
    pair.write_text("2\n\nH 0 0 0\nH 0 0 1\n")
    assert main(["predict", str(run), str(pair), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["unit"] == "A"
    assert main(["info", str(run)]) == 0
    out = capsys.readouterr().out
    assert "Pairs, all of the training part (nobody)" in out


def test_lists_and_tables_show_both(registered, capsys):
    assert main(["data", "list"]) == 0
    assert "tasks     bond" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "linear_attention, mean, or null" in out and ", pairs. --data.order" in out
    assert "| `mean` | O(N) | none | E(3) and permutations, exactly | tests |" in mixer_table()


def test_a_name_is_taken_once(registered):
    with pytest.raises(ValueError, match="mixer 'mean' is there already"):
        MIXERS.register("mean", Mean)
