"""Equivariant associative recall: a sequence of key-value pairs, then a key; which value is its?"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from e3nn import o3
from torch import Tensor
from torch_geometric.data import Data, Dataset

__all__ = [
    "KINDS",
    "SIZES",
    "Recall",
    "RecallSequences",
    "draw_pairs",
    "draw_sequences",
    "rotate",
    "token_irreps",
]

KINDS = ("random", "fixed")
SIZES = {"train": 2600, "val": 200, "test": 200}


class RecallSequences(NamedTuple):
    """Sequences of equal length.

    Attributes
    ----------
    x : Tensor of shape (num_sequences, length + 1, 2l + 1)
        Key, value, key, value, ..., key asked for.
    y : Tensor of shape (num_sequences, 2l + 1)
        The value that belongs to the last key.
    """

    x: Tensor
    y: Tensor


class Recall(Dataset):
    r"""Associative recall of vectors, as SE(3)-Hyena's authors defined it.

    A sequence holds ``length / 2`` key-value pairs, drawn from a vocabulary of V pairs, and ends
    with a key that occurred before; its value is the target. Keys and values have isotropic
    directions and magnitudes uniform in [1, V].

    - ``random``: every sequence has a vocabulary of its own. Training sequences are drawn anew
      whenever they are read; those of ``val`` and ``test`` stay.
    - ``fixed``: one vocabulary for all splits. Training sequences stay, but are rotated at random
      whenever they are read.

    Every sequence is a `Data` with ``x`` (length + 1, 2l + 1) and ``y`` (1, 2l + 1), float32.

    Parameters
    ----------
    split : {"train", "val", "test"}
        2,600, 200 and 200 sequences, as in the paper.
    kind : {"random", "fixed"}
        Whether vocabularies change.
    length : int
        Tokens before the last key, an even number; the paper has 32 to 256.
    vocabulary : int
        V; the paper has 4.
    degree : int
        l, 1 for vectors, 2 for traceless symmetric tensors (``2e``).
    seed : int
        Of the vocabulary and of the sequences that stay; what changes comes from torch's global
        generator, as in PyG's random transforms.
    transform : callable, optional
        As in every PyG dataset.

    References
    ----------
    Moskalev et al. 2024, SE(3)-Hyena Operator for Scalable Equivariant Learning.
    """

    def __init__(
        self,
        split: str = "train",
        kind: str = "random",
        *,
        length: int = 32,
        vocabulary: int = 4,
        degree: int = 1,
        seed: int = 0,
        transform: Callable | None = None,
    ) -> None:
        super().__init__(None, transform)
        if split not in SIZES:
            raise ValueError(f"split={split!r} is unknown; use one of {', '.join(SIZES)}")
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is unknown; use one of {', '.join(KINDS)}")
        self.split, self.kind = split, kind
        self.length, self.vocabulary, self.degree = length, vocabulary, degree
        self.irreps_in = self.irreps_out = token_irreps(degree)
        splits = list(SIZES)
        self.sequences: RecallSequences | None = None  # drawn when they are read
        if kind == "fixed" or split != "train":
            pairs = None
            if kind == "fixed":
                pairs = draw_pairs(1, vocabulary, degree, _generator(seed, len(splits)))
            self.sequences = draw_sequences(
                SIZES[split],
                length,
                vocabulary,
                degree,
                pairs=pairs,
                generator=_generator(seed, splits.index(split)),
            )

    def len(self) -> int:
        """Number of sequences."""
        return SIZES[self.split]

    def get(self, idx: int) -> Data:
        """One sequence."""
        x, y = self.batch([idx])
        return Data(x=x[0], y=y)

    def batch(self, indices: list[int]) -> RecallSequences:
        """Several sequences at once, as one dense tensor; much faster than one by one."""
        if self.sequences is None:
            return draw_sequences(len(indices), self.length, self.vocabulary, self.degree)
        chosen = RecallSequences(*(part[indices] for part in self.sequences))
        return rotate(chosen, self.degree) if self.split == "train" else chosen


def _generator(seed: int, which: int) -> torch.Generator:
    """Sources of randomness for the splits and the vocabulary, all different."""
    return torch.Generator().manual_seed(seed * (len(SIZES) + 1) + which)


def token_irreps(degree: int) -> o3.Irreps:
    """Irreps of a token."""
    if degree < 1:
        raise ValueError(f"degree={degree}; tokens are vectors (1) or tensors (2 and higher)")
    return o3.Irreps([(1, (degree, (-1) ** degree))])


def draw_pairs(
    number: int, vocabulary: int, degree: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Vocabularies of key-value pairs, ``(number, vocabulary, 2, 2l + 1)``."""
    if vocabulary < 1:
        raise ValueError(f"vocabulary={vocabulary}; give at least one pair")
    shape = number, vocabulary, 2
    direction = torch.randn(*shape, token_irreps(degree).dim, generator=generator)
    magnitude = 1 + (vocabulary - 1) * torch.rand(*shape, 1, generator=generator)
    return magnitude * torch.nn.functional.normalize(direction, dim=-1)


def draw_sequences(
    number: int,
    length: int,
    vocabulary: int,
    degree: int = 1,
    *,
    pairs: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> RecallSequences:
    """Fresh sequences."""
    if length < 2 or length % 2:
        raise ValueError(f"length={length}; give an even number, keys and values alternate")
    if pairs is None:
        pairs = draw_pairs(number, vocabulary, degree, generator)
    which = torch.randint(vocabulary, (number, length // 2), generator=generator)
    place = torch.randint(length // 2, (number, 1), generator=generator)  # occurs at least once
    asked = which.gather(1, place)
    pairs = pairs.expand(number, -1, -1, -1)
    rows = torch.arange(number)[:, None]
    key, value = pairs[rows, asked].squeeze(1).unbind(dim=1)
    x = torch.cat([pairs[rows, which].flatten(1, 2), key.unsqueeze(1)], dim=1)
    return RecallSequences(x, value)


def rotate(sequences: RecallSequences, degree: int = 1) -> RecallSequences:
    """Rotate every sequence by a random rotation of its own."""
    rotations = o3.rand_matrix(len(sequences.x))
    matrices = token_irreps(degree).D_from_matrix(rotations)
    x, y = sequences
    return RecallSequences(x @ matrices.mT, (matrices @ y.unsqueeze(-1)).squeeze(-1))
