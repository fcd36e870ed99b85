"""Sequences whose last key occurred before, and whose answer is its value."""

import pytest
import torch
from benchmarks.data.recall import SIZES, Recall, draw_pairs, draw_sequences, rotate, token_irreps
from torch_geometric.loader import DataLoader


@pytest.mark.parametrize(("length", "vocabulary", "degree"), [(2, 4, 1), (32, 4, 1), (64, 16, 2)])
def test_the_answer_stands_behind_the_key_asked_for(length, vocabulary, degree) -> None:
    x, y = draw_sequences(50, length, vocabulary, degree)
    assert x.shape == (50, length + 1, 2 * degree + 1) and y.shape == (50, 2 * degree + 1)
    for sequence, answer in zip(x, y, strict=True):
        keys, values = sequence[0:-1:2], sequence[1:-1:2]
        found = (keys == sequence[-1]).all(dim=1)
        assert found.any()
        assert (values[found] == answer).all()
        assert len(keys.unique(dim=0)) <= vocabulary


def test_magnitudes_and_directions() -> None:
    pairs = draw_pairs(5000, 4, 1)
    magnitude = pairs.norm(dim=-1)
    assert 1 <= magnitude.min() < 1.01 and 3.99 < magnitude.max() <= 4.0001
    assert magnitude.mean() == pytest.approx(2.5, abs=0.02)
    assert pairs.square().mean() == pytest.approx(7 / 3, abs=0.05)  # what predicting zero gives
    direction = (pairs / magnitude[..., None]).flatten(0, 2)
    assert (direction.T @ direction / len(direction) - torch.eye(3) / 3).abs().max() < 0.01


def test_every_pair_is_as_likely_to_be_asked_for_as_it_is_frequent() -> None:
    pairs = draw_pairs(1, 4)
    x, _ = draw_sequences(2000, 8, 4, pairs=pairs)
    shares = [(x[:, -1] == key).all(dim=1).float().mean() for key in pairs[0, :, 0]]
    assert min(shares) > 0.2 and max(shares) < 0.3


@pytest.mark.parametrize("kind", ["random", "fixed"])
def test_splits(kind: str) -> None:
    sets = {split: Recall(split, kind, length=8) for split in SIZES}
    assert [len(sets[split]) for split in SIZES] == [2600, 200, 200]
    for split in ("val", "test"):
        again = Recall(split, kind, length=8)
        assert torch.equal(sets[split][3].x, sets[split][3].x)
        assert torch.equal(sets[split][3].x, again[3].x)
    assert not torch.equal(sets["val"][3].x, sets["test"][3].x)
    assert not torch.equal(Recall("test", kind, length=8, seed=1)[3].x, sets["test"][3].x)


def test_random_training_sequences_are_fresh_and_follow_the_global_seed() -> None:
    train = Recall("train", "random", length=8)
    first = train[0]
    assert not torch.equal(first.x, train[0].x)
    torch.manual_seed(3)
    x = train.batch([0, 1]).x
    torch.manual_seed(3)
    assert torch.equal(x, train.batch([0, 1]).x)
    assert len(x.flatten(0, 1).unique(dim=0)) > 8, "every sequence has its own vocabulary"


def test_fixed_sequences_share_a_vocabulary_and_only_training_ones_are_rotated() -> None:
    test, val = (Recall(split, "fixed", length=32) for split in ("test", "val"))
    vocabulary = test.batch(list(range(200))).x.flatten(0, 1).unique(dim=0)
    assert len(vocabulary) == 8
    assert torch.equal(val.batch(list(range(200))).x.flatten(0, 1).unique(dim=0), vocabulary)
    train = Recall("train", "fixed", length=32)
    once, twice = train.batch([5]).x[0], train.batch([5]).x[0]
    assert not torch.allclose(once, twice, atol=0.1)
    assert torch.allclose(once @ once.T, twice @ twice.T, atol=1e-4)
    sizes = once.norm(dim=1)[:, None] - vocabulary.norm(dim=1)
    assert sizes.abs().min(dim=1).values.max() < 1e-4


@pytest.mark.parametrize("degree", [1, 2])
def test_rotation_keeps_inner_products_between_tokens_and_answer(degree: int) -> None:
    sequences = draw_sequences(6, 8, 4, degree)
    turned = rotate(sequences, degree)
    for (x, y), (x2, y2) in zip(
        zip(*sequences, strict=True), zip(*turned, strict=True), strict=True
    ):
        assert torch.allclose(x @ y, x2 @ y2, atol=1e-3)
        assert torch.allclose(x @ x.T, x2 @ x2.T, atol=1e-3)
    assert not torch.allclose(turned.x, sequences.x, atol=0.1)


def test_loader_of_pyg() -> None:
    batch = next(iter(DataLoader(Recall("val", length=8), batch_size=4)))
    assert batch.x.shape == (36, 3) and batch.y.shape == (4, 3)
    assert batch.batch.tolist() == [i for i in range(4) for _ in range(9)]
    assert Recall(degree=2).irreps_in == token_irreps(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "all"}, "train, val, test"),
        ({"kind": "new"}, "random, fixed"),
        ({"split": "val", "length": 7}, "even"),
        ({"split": "val", "vocabulary": 0}, "at least one pair"),
        ({"degree": 0}, "vectors"),
    ],
)
def test_wrong_options(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Recall(**options)
