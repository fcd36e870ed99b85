"""The Hyena operator over any e3nn irreps."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, RowLayout, parse_irreps
from e3hyena.mixers import Mixer, build_mixer
from e3hyena.nn.gate import Gate
from e3hyena.nn.linear import Linear
from e3hyena.nn.precision import to_working
from e3hyena.nn.reach import Kinds, fewest, kinds, listed, on_the_way, warn_of_zeros, with_kinds
from e3hyena.nn.short_conv import ShortConv
from e3hyena.ops.paths import Paths
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments
from e3hyena.ops.tensor_product import tensor_product

_MANY_PATHS = 64


class HyenaOperator(nn.Module):
    r"""Global, equivariant information exchange between tokens.

    .. math::
        q, k, v = W x,\qquad u = \mathrm{mixer}(q, k, v),\qquad
        y = W_o\,\mathrm{CG}\big(\mathrm{gate}(u) \otimes v\big)

    The mixer decides what ``u`` is and which operand it meets in the last tensor product: the value
    for ``query_key``; the query for ``filter`` and ``coordinate``, where
    :math:`(u + \mathrm{CG}(u \otimes q))/\sqrt2` keeps the context itself as well; none for plain
    attention. So Hyena and attention differ in one word.

    Parameters
    ----------
    irreps_in : o3.Irreps or str
        Irreps of the tokens.
    irreps_out : o3.Irreps or str, optional
        Irreps of the result; ``irreps_in`` by default.
    irreps_hidden : o3.Irreps or str, optional
        Irreps of q, k and v, read as C channels, C the gcd of the multiplicities. By default the
        distinct irreps of ``irreps_in``, each with the largest multiplicity among them.
    mixer : str
        How tokens are mixed: a name in `e3hyena.mixers.MIXERS`, such as ``"query_key"``,
        ``"coordinate"`` or ``"attention"``.
    boundary : {"circular", "causal", "same"}, optional
        For ``query_key`` (default circular) and ``filter`` (default same).
    short_conv : int
        Kernel size of a short convolution of q, k and v along the order of the tokens; 0 for none.
        It makes any mixer depend on the order.
    mixer_options : mapping, optional
        Further arguments of the mixer, such as ``{"heads": 8, "modes": 32}``.

    Raises
    ------
    ValueError
        If irreps do not parse, or mixer or boundary are unknown.

    References
    ----------
    Moskalev et al. 2024 (SE(3)-Hyena); Poli et al. 2023 (Hyena).

    Examples
    --------
    >>> operator = HyenaOperator("16x0e + 16x1o", mixer="coordinate")
    >>> x = operator.irreps_in.randn(30, -1)
    >>> operator(x, batch=torch.arange(30) // 10).shape
    torch.Size([30, 64])
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike | None = None,
        irreps_hidden: IrrepsLike | None = None,
        *,
        mixer: str = "query_key",
        boundary: str | None = None,
        short_conv: int = 0,
        mixer_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_in, "irreps_in")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out", self.irreps_in)
        if irreps_hidden is None:
            irreps_hidden = default_hidden(self.irreps_in)
        hidden = ChannelIrreps(parse_irreps(irreps_hidden, "irreps_hidden"))
        self.irreps_hidden = hidden.irreps
        self.mixer_name = mixer
        self.mixer = build_mixer(mixer, hidden, boundary, mixer_options)
        self.layout = RowLayout(self.irreps_in)
        self.project = Linear(self.layout, hidden, groups=3)
        self.short_conv: ShortConv | None = None
        if short_conv:
            stacked = ChannelIrreps(3 * hidden.irreps, 3 * hidden.num_channels)
            kind = getattr(self.mixer, "boundary", "causal")
            self.short_conv = ShortConv(stacked, short_conv, kind)
        self.gate = Gate(self.mixer.context)
        result = self.mixer.context
        self.paths = _companion_paths(self.mixer, hidden)
        if self.paths is not None:
            self.weight = nn.Parameter(torch.randn(self.paths.num_paths, hidden.num_channels))
            result = hidden
            self._warn_many_paths(hidden)
        self._warn_if_zero()
        self.output = Linear(result, RowLayout(self.irreps_out))

    def forward(
        self, x: Tensor, batch: Tensor | Segments | None = None, *, ptr: Tensor | None = None
    ) -> Tensor:
        """Exchange information within every graph.

        Parameters
        ----------
        x : Tensor
            Shape ``(num_tokens, irreps_in.dim)``, the tokens of a graph in order. Without ``batch``
            and ``ptr`` all tokens are one graph, and further leading dimensions are graphs of equal
            length.
        batch : Tensor, optional
            Graph of every token, ``(num_tokens,)``, sorted.
        ptr : Tensor, optional
            Offsets of the graphs, ``(num_graphs + 1,)``.

        Returns
        -------
        Tensor
            Shape ``(..., num_tokens, irreps_out.dim)``, dtype of ``x``.
        """
        check_features(x, self.layout)
        segments = segments_of(x, batch, ptr)
        with full_precision(x):
            y = self.rows(to_working(x, self).flatten(0, -2).t().contiguous(), segments)
            return y.t().contiguous().view(*x.shape[:-1], len(y)).to(x.dtype)

    def rows(self, x: Tensor, segments: Segments) -> Tensor:
        """The same, components by tokens: ``(irreps_in.dim, T)`` -> ``(irreps_out.dim, T)``."""
        q, k, v = self.project(x)
        if self.short_conv is not None:
            short_conv = segments.across(self.short_conv)
            q, k, v = short_conv(torch.cat([q, k, v]), segments).chunk(3)
        return self.output(self.mix(q, k, v, segments))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """What stands between the projections: mixer, gate, tensor product; ``(C, d, T)``."""
        u = self.gate(segments.across(self.mixer)(q, k, v, segments))
        return u if self.paths is None else self._combine(u, q, v)

    def _combine(self, u: Tensor, q: Tensor, v: Tensor) -> Tensor:
        """Tensor product with the value, or with the query beside the context itself."""
        assert self.paths is not None
        if self.mixer.companion == "v":
            return tensor_product(u, v, self.weight, self.paths)
        product = tensor_product(u, q, self.weight * 2**-0.5, self.paths)
        return torch.add(product, u, alpha=2**-0.5)

    def _warn_many_paths(self, hidden: ChannelIrreps) -> None:
        assert self.paths is not None
        if self.paths.num_paths > _MANY_PATHS:
            better = default_hidden(hidden.irreps)
            warnings.warn(
                f"irreps_hidden={hidden.irreps} is {hidden.num_channels} channel(s) of "
                f"{hidden.per_channel} with {self.paths.num_paths} paths each, which is slow; "
                f"equal multiplicities make few paths, for example {better}",
                stacklevel=3,
            )

    def reached(self, given: Kinds) -> Kinds:
        """Kinds of irreps of the result that are not zero, for tokens of the given kinds.

        Parity may forbid what linear maps allow: the product of two vectors holds no vector.
        """
        found = _mixed(self.mixer, self.paths, given & kinds(self.irreps_hidden))
        return found & kinds(self.irreps_out)

    def _warn_if_zero(self) -> None:
        reached = self.reached(kinds(self.irreps_in))
        if kinds(self.irreps_out) <= reached:
            return
        given = kinds(self.irreps_in) & kinds(self.irreps_hidden)
        found = listed(_mixed(self.mixer, self.paths, given))
        why = (
            f"irreps_in={self.irreps_in}, irreps_hidden={self.irreps_hidden} and "
            f"mixer={self.mixer_name!r} give {found}"
        )
        if not reached:
            why += f", and irreps_out={self.irreps_out} holds none of these"
        warn_of_zeros(self.irreps_out, reached, why, self._advice(), stacklevel=4)

    def _advice(self) -> str:
        """Hidden irreps that reach every kind, if any do."""
        wanted, given = kinds(self.irreps_out), kinds(self.irreps_in)

        def enough(hidden_kinds: Kinds) -> bool:
            hidden = ChannelIrreps(o3.Irreps([(1, ir) for ir in sorted(hidden_kinds)]))
            mixer = build_mixer(self.mixer_name, hidden)
            paths = _companion_paths(mixer, hidden)
            return wanted <= _mixed(mixer, paths, given & hidden_kinds)

        found = fewest(kinds(self.irreps_hidden), on_the_way(wanted), enough)
        if found is None:
            return "no irreps_hidden leads there from irreps_in with this mixer"
        return f"take irreps_hidden='{with_kinds(self.irreps_hidden, found)}'"

    def extra_repr(self) -> str:
        channels = ChannelIrreps(self.irreps_hidden)
        numel = sum(p.numel() for p in self.parameters())
        return (
            f"{self.irreps_in} -> {self.irreps_hidden} -> {self.irreps_out}, "
            f"{channels.num_channels} channels of {channels.per_channel}, "
            f"mixer={self.mixer_name!r} | {numel} parameters"
        )


def _companion_paths(mixer: Mixer, hidden: ChannelIrreps) -> Paths | None:
    """Paths of the tensor product with the mixer's companion."""
    if mixer.companion is None:
        return None
    return Paths(mixer.context.per_channel, hidden.per_channel, hidden.per_channel)


def _mixed(mixer: Mixer, paths: Paths | None, given: Kinds) -> Kinds:
    """Kinds between the projections, for q, k and v of the given kinds."""
    found = mixer.reached(given)
    if paths is None:
        return found
    return paths.reached(found, given) | (found if mixer.companion == "q" else set())


def default_hidden(*irreps: o3.Irreps) -> o3.Irreps:
    """Distinct irreps of all arguments, each with the largest multiplicity in any of them.

    Examples
    --------
    >>> default_hidden(o3.Irreps("64x0e + 32x1o"), o3.Irreps("16x2e"))
    64x0e+64x1o+64x2e
    """
    every = [ChannelIrreps(each).irreps for each in irreps]
    largest = max((mul for each in every for mul, _ in each), default=0)
    kinds = ChannelIrreps(sum(every, o3.Irreps(""))).irreps
    return o3.Irreps([(largest, ir) for _, ir in kinds])


def check_features(x: Tensor, layout: RowLayout) -> None:
    """Raise an error that names shape and irreps where features do not fit."""
    if not isinstance(x, Tensor):
        raise TypeError(f"features are {type(x).__name__}; give a torch.Tensor")
    if not x.is_floating_point():
        raise TypeError(f"features are {x.dtype}; convert them to a floating type")
    if x.dim() < 2 or x.shape[-1] != layout.dim:
        raise ValueError(
            f"features have shape {tuple(x.shape)}; irreps_in={layout.irreps} wants "
            f"(num_tokens, {layout.dim})"
        )


def segments_of(x: Tensor, batch: Tensor | Segments | None, ptr: Tensor | None) -> Segments:
    """Graphs of the tokens, given by ``batch`` or ``ptr`` or else by leading dimensions."""
    lead = x.shape[:-2]
    if not lead:
        return Segments.build(x.shape[0], batch, ptr, x.device)
    if batch is not None or ptr is not None:
        raise ValueError(
            f"x has shape {tuple(x.shape)}: give either leading dimensions or batch/ptr; "
            "with the latter, x.flatten(0, -2) and one entry of batch per row"
        )
    return Segments((x.shape[-2],) * lead.numel(), x.device)
