"""Sets in which every query has an answer, and only its content tells which."""

import pytest
import torch
from benchmarks.data.set_recall import set_recall


@pytest.mark.parametrize(("num_tokens", "vocabulary"), [(32, 4), (32, 24), (128, 64)])
def test_every_query_has_its_answer_among_the_memories(num_tokens: int, vocabulary: int) -> None:
    sets = set_recall(3, num_tokens, vocabulary)
    assert sets.x.shape == (3 * num_tokens, 7) and sets.batch.tolist() == sorted(sets.batch)
    for graph in range(3):
        here = sets.batch == graph
        asked = sets.is_query[here]
        role, key, value = sets.x[here].split([1, 3, 3], dim=1)
        assert asked.sum() == num_tokens // 4
        assert torch.equal(role[:, 0], torch.where(asked, -1.0, 1.0))
        pairs = torch.cat([key, value], dim=1)[~asked].unique(dim=0)
        assert len(pairs) == vocabulary
        assert (value[asked] == 0).all() and (sets.target[here][~asked] == 0).all()
        matches = (key[asked][:, None] == pairs[None, :, :3]).all(dim=-1)
        assert (matches.sum(dim=1) == 1).all()
        assert torch.equal(pairs[matches.int().argmax(dim=1), 3:], sets.target[here][asked])
        lengths = pairs.view(-1, 2, 3).norm(dim=-1)
        assert lengths.min() > 0.499 and lengths.max() < 1.501


def test_pairs_are_fresh_and_directions_isotropic() -> None:
    sets = set_recall(500, 32, 16)
    key = sets.x[:, 1:4]
    direction = key / key.norm(dim=1, keepdim=True)
    assert len(key.unique(dim=0)) == 500 * 16
    assert direction.mean(dim=0).abs().max() < 0.03
    assert (direction.T @ direction / len(key) - torch.eye(3) / 3).abs().max() < 0.03


def test_order_says_nothing_and_the_generator_decides() -> None:
    sets = [set_recall(200, 32, 4, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(sets[0].x, sets[1].x)
    share = sets[0].is_query.view(200, 32).float().mean(dim=0)
    assert 0.1 < share.min() and share.max() < 0.4


@pytest.mark.parametrize(("num_tokens", "vocabulary"), [(30, 4), (32, 25), (32, 0)])
def test_sets_that_cannot_be(num_tokens: int, vocabulary: int) -> None:
    with pytest.raises(ValueError, match="use"):
        set_recall(1, num_tokens, vocabulary)
