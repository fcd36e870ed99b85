"""How features of some irreps lie in memory, and the one place that converts between layouts.

Outside the library features are e3nn's ``(num_tokens, irreps.dim)`` in mul_ir layout, the *token
layout*. Between the layers of a block they are the same transposed, the *row layout*. Inside an
operator they live in *channel layout* ``(C, d, num_tokens)``: time contiguous, every channel
holding the same per-channel irreps.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import torch
from e3nn import o3
from torch import Tensor

IrrepsLike: TypeAlias = o3.Irreps | str


def parse_irreps(
    irreps: object, name: str = "irreps", default: o3.Irreps | None = None
) -> o3.Irreps:
    """Return ``o3.Irreps(irreps)``, or say which argument could not be read; None: the default."""
    try:
        if irreps is None:
            if default is not None:
                return default
            raise TypeError("no irreps")  # e3nn reads it as no irreps at all
        return o3.Irreps(irreps)  # type: ignore[arg-type]
    except (ValueError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(
            f"{name}={irreps!r} does not parse as irreps; "
            "write multiplicity x degree parity, for example '32x0e + 32x1o'"
        ) from error


def distinct_irreps(irreps: IrrepsLike) -> o3.Irreps:
    """Sorted irreps with one entry per kind, multiplicities added, empty entries dropped."""
    return o3.Irreps(irreps).sort().irreps.simplify()


def expand_irreps(irreps: IrrepsLike) -> o3.Irreps:
    """Split every entry into copies of multiplicity one; entries of multiplicity zero stay."""
    return o3.Irreps(
        [(min(mul, 1), ir) for mul, ir in o3.Irreps(irreps) for _ in range(max(mul, 1))]
    )


class Layout(ABC):
    """A layout: features are read and written by kind of irrep, whatever their memory looks like.

    A block is ``(mul, 2l+1, num_tokens)``, where ``mul`` counts every copy of a kind; so do
    `multiplicities`, and `widths` are the components of a kind.
    """

    irreps: o3.Irreps
    multiplicities: dict[str, int]
    widths: dict[str, int]

    @abstractmethod
    def num_tokens(self, x: Tensor) -> int:
        """How many tokens the features are of."""

    @abstractmethod
    def read(self, x: Tensor) -> dict[str, Tensor]:
        """Features -> ``{ir: (mul, 2l+1, num_tokens)}``."""

    @abstractmethod
    def write(self, blocks: Mapping[str, Tensor]) -> Tensor:
        """``{ir: (mul, 2l+1, num_tokens)}`` -> features."""

    @abstractmethod
    def empty(self, num_tokens: int, like: Tensor) -> Tensor:
        """Memory of no value yet, to be filled at its ``places`` and then made features of."""

    @abstractmethod
    def places(self, memory: Tensor) -> Iterator[tuple[str, slice, Tensor]]:
        """Kind, which copies of it, and where they stand: a view ``(copies, 2l+1, T)``."""

    @abstractmethod
    def times(self, groups: int) -> "Layout":
        """Of so many features at once, which are ``shares`` of the result."""

    def shares(self, x: Tensor, groups: int) -> tuple[Tensor, ...]:
        """The features of every group, views."""
        return x.chunk(groups)

    def finish(self, memory: Tensor) -> Tensor:
        """The features that filled memory is."""
        return memory


class RowLayout(Layout):
    """Row layout: e3nn's components by tokens, ``(dim, num_tokens)``.

    The copies of a kind are in the order of the irreps.

    Examples
    --------
    >>> layout = RowLayout(o3.Irreps("1o + 2x0e + 1o"))
    >>> blocks = layout.read(torch.randn(8, 5))
    >>> {str(ir): tuple(block.shape) for ir, block in blocks.items()}
    {'1o': (2, 3, 5), '0e': (2, 1, 5)}
    >>> layout.write(blocks).shape
    torch.Size([8, 5])
    """

    def __init__(self, irreps: o3.Irreps) -> None:
        self.irreps = irreps
        self.dim = irreps.dim
        self.entries = [(mul, str(ir)) for mul, ir in irreps]
        self.widths = {str(ir): ir.dim for mul, ir in irreps if mul}
        self.multiplicities = {ir: irreps.count(ir) for ir in self.widths}

    def num_tokens(self, x: Tensor) -> int:
        return x.shape[1]

    def read(self, x: Tensor) -> dict[str, Tensor]:
        parts: dict[str, list[Tensor]] = {ir: [] for ir in self.widths}
        for ir, _, place in self.places(x):
            parts[ir].append(place)
        return {ir: torch.cat(p) if len(p) > 1 else p[0] for ir, p in parts.items()}

    def write(self, blocks: Mapping[str, Tensor]) -> Tensor:
        used = dict.fromkeys(blocks, 0)
        rows = []
        for mul, ir in self.entries:
            if mul:
                rows.append(blocks[ir][used[ir] : used[ir] + mul].flatten(0, 1))
                used[ir] += mul
        return torch.cat(rows) if len(rows) > 1 else rows[0]

    def times(self, groups: int) -> Layout:
        return type(self)(groups * self.irreps)

    def empty(self, num_tokens: int, like: Tensor) -> Tensor:
        return like.new_empty(self.dim, num_tokens)

    def places(self, memory: Tensor) -> Iterator[tuple[str, slice, Tensor]]:
        used = dict.fromkeys(self.widths, 0)
        row = 0
        for mul, ir in self.entries:
            if mul:
                end = row + mul * self.widths[ir]
                view = memory[row:end].view(mul, self.widths[ir], memory.shape[1])
                yield ir, slice(used[ir], used[ir] + mul), view
                used[ir] += mul
                row = end


class TokenLayout(RowLayout):
    """Token layout: e3nn's ``(num_tokens, dim)``.

    Reading and writing transpose everything at once; blocks are those of :class:`RowLayout`.
    """

    def num_tokens(self, x: Tensor) -> int:
        return x.shape[0]

    def read(self, x: Tensor) -> dict[str, Tensor]:
        return super().read(x.t().contiguous())

    def write(self, blocks: Mapping[str, Tensor]) -> Tensor:
        return self.finish(super().write(blocks))

    def shares(self, x: Tensor, groups: int) -> tuple[Tensor, ...]:
        return x.chunk(groups, dim=1)

    def finish(self, memory: Tensor) -> Tensor:
        return memory.t().contiguous()


class ChannelIrreps(Layout):
    """Channel layout: irreps, sorted and merged, as C channels, C the gcd of the multiplicities.

    A channel holds `per_channel`, with one entry per copy and d components; C is 1 for empty
    irreps.
    """

    def __init__(self, irreps: IrrepsLike, num_channels: int | None = None) -> None:
        self.irreps = distinct_irreps(irreps)
        gcd = math.gcd(*(mul for mul, _ in self.irreps)) or 1
        if num_channels is not None and gcd % num_channels and len(self.irreps):
            raise ValueError(
                f"{self.irreps} cannot be split into {num_channels} channels; "
                f"the multiplicities have the greatest common divisor {gcd}"
            )
        self.text = str(self.irreps)  # what an operator takes that the compiler does not look into
        self.num_channels = num_channels or gcd
        self.multiplicities = {str(ir): mul for mul, ir in self.irreps}
        self.widths = {str(ir): ir.dim for _, ir in self.irreps}
        self.copies = {ir: mul // self.num_channels for ir, mul in self.multiplicities.items()}
        self.per_channel = o3.Irreps(
            [(1, ir) for ir, copies in self.copies.items() for _ in range(copies)]
        )
        self.dim = self.per_channel.dim

    def num_tokens(self, x: Tensor) -> int:
        return x.shape[2]

    def read(self, x: Tensor) -> dict[str, Tensor]:
        return {
            ir: part.reshape(self.multiplicities[ir], self.widths[ir], x.shape[-1])
            for ir, part in self.split(x).items()
        }

    def times(self, groups: int) -> Layout:
        return ChannelIrreps(groups * self.irreps, groups * self.num_channels)

    def empty(self, num_tokens: int, like: Tensor) -> Tensor:
        return like.new_empty(self.num_channels, self.dim, num_tokens)

    def places(self, memory: Tensor) -> Iterator[tuple[str, slice, Tensor]]:
        row = 0
        for ir, copies in self.copies.items():
            for j in range(copies):
                yield ir, slice(j, None, copies), memory[:, row : row + self.widths[ir]]
                row += self.widths[ir]

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """``(C, d, ...)`` -> ``{ir: (C, copies * (2l+1), ...)}``, views."""
        sizes = [copies * self.widths[ir] for ir, copies in self.copies.items()]
        return dict(zip(self.copies, x.split(sizes, dim=1), strict=True)) if sizes else {}

    def expand(self, per_copy: Tensor, dim: int) -> Tensor:
        """Repeat one value per copy over its components: ``(.., copies, ..) -> (.., d, ..)``."""
        parts = per_copy.split(list(self.copies.values()), dim=dim) if self.copies else ()
        repeated = [
            part.unsqueeze(dim + 1)
            .expand(*part.shape[: dim + 1], self.widths[ir], *part.shape[dim + 1 :])
            .flatten(dim, dim + 1)
            for ir, part in zip(self.copies, parts, strict=True)
        ]
        return torch.cat(repeated, dim=dim) if repeated else per_copy

    def write(self, blocks: Mapping[str, Tensor]) -> Tensor:
        rows = [
            blocks[ir].reshape(self.num_channels, copies * self.widths[ir], -1)
            for ir, copies in self.copies.items()
        ]
        return torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]

    def to_channels(self, x: Tensor) -> Tensor:
        """``(T, irreps.dim)`` -> ``(C, d, T)``, contiguous."""
        if not self.dim:
            return x.new_zeros(self.num_channels, 0, x.shape[0])
        return self.write(TokenLayout(self.irreps).read(x)).contiguous()

    def to_tokens(self, x: Tensor) -> Tensor:
        """``(C, d, T)`` -> ``(T, irreps.dim)``."""
        if not self.dim:
            return x.new_zeros(x.shape[-1], 0)
        return TokenLayout(self.irreps).write(self.read(x))
