"""Recall in a set: tokens without order or position, of which queries must find their value."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["IRREPS_IN", "IRREPS_OUT", "SetRecall", "set_recall"]

IRREPS_IN = "1x0e + 1x1o + 1x1o"
IRREPS_OUT = "1x1o"


class SetRecall(NamedTuple):
    """Sets of tokens, one after the other.

    Attributes
    ----------
    x : Tensor of shape (num_tokens, 7)
        Irreps ``IRREPS_IN``: role (1 memory, -1 query), key, value (0 for a query).
    target : Tensor of shape (num_tokens, 3)
        Irreps ``IRREPS_OUT``: the value that belongs to a query's key; 0 for memories.
    is_query : Tensor of shape (num_tokens,), bool
        Where there is something to answer.
    batch : Tensor of shape (num_tokens,), int64
        Set of every token.
    """

    x: Tensor
    target: Tensor
    is_query: Tensor
    batch: Tensor


def set_recall(
    num_sets: int,
    num_tokens: int,
    vocabulary: int,
    *,
    generator: torch.Generator | None = None,
) -> SetRecall:
    r"""Draw sets, each with key-value pairs of its own.

    Three quarters of the tokens are memories: every pair at least once, the rest drawn at random.
    One quarter are queries, each with the key of a random pair. Keys and values have isotropic
    directions and lengths uniform in [0.5, 1.5]. Tokens are listed in random order, so that only
    their content tells memories from queries.
    """
    if num_tokens % 4:
        raise ValueError(f"num_tokens={num_tokens}; use a multiple of 4, one quarter are queries")
    num_memories = 3 * num_tokens // 4
    if not 0 < vocabulary <= num_memories:
        raise ValueError(
            f"vocabulary={vocabulary} does not fit the {num_memories} memories of "
            f"{num_tokens} tokens; use 1 to {num_memories}, or more tokens"
        )
    pairs = _vectors(num_sets, vocabulary, 2, generator=generator)
    drawn = torch.randint(vocabulary, (num_sets, num_tokens - vocabulary), generator=generator)
    every = torch.arange(vocabulary).expand(num_sets, -1)
    which = torch.cat([every, drawn], dim=1)  # the last quarter are queries
    is_query = torch.arange(num_tokens).expand(num_sets, -1) >= num_memories
    order = torch.rand(num_sets, num_tokens, generator=generator).argsort(dim=1)
    which, is_query = which.gather(1, order), is_query.gather(1, order)
    key, value = pairs[torch.arange(num_sets)[:, None], which].unbind(dim=2)
    asked = is_query.unsqueeze(-1)
    zero = value.new_zeros(())
    role = torch.where(asked, -1.0, 1.0)
    x = torch.cat([role, key, torch.where(asked, zero, value)], dim=-1)
    return SetRecall(
        x.flatten(0, 1),
        torch.where(asked, value, zero).flatten(0, 1),
        is_query.flatten(),
        torch.arange(num_sets).repeat_interleave(num_tokens),
    )


def _vectors(*shape: int, generator: torch.Generator | None) -> Tensor:
    """Isotropic vectors with lengths uniform in [0.5, 1.5], ``(*shape, 3)``."""
    direction = torch.randn(*shape, 3, generator=generator)
    length = 0.5 + torch.rand(*shape, 1, generator=generator)
    return length * torch.nn.functional.normalize(direction, dim=-1)
