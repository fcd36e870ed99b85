"""The paper's operator, as a preset of the library's parts."""

import torch
from torch import Tensor, nn

from e3hyena.irreps import ChannelIrreps, IrrepsLike, RowLayout, parse_irreps
from e3hyena.nn.feed_forward import TensorProductMLP
from e3hyena.nn.operator import check_features
from e3hyena.nn.precision import to_working
from e3hyena.nn.reach import Kinds, kinds, listed, warn_of_zeros
from e3hyena.ops.paths import Paths
from e3hyena.ops.precision import full_precision
from e3hyena.ops.segments import Segments
from e3hyena.ops.tensor_product import tensor_product, tensor_product_long_conv


class SE3Hyena(nn.Module):
    r"""SE(3)-Hyena of Moskalev et al. (2024): cross-product and scalar long convolutions.

    With S scalars and V vectors per token (V = 1 in the paper),

    .. math::
        q, k, v &= \phi(x, f) \\
        u^e_i &= \tfrac{1}{N} \textstyle\sum_j q^e_j \times k^e_{i-j},\qquad
        u^s_i = \tfrac{1}{N} \textstyle\sum_j q^s_j\, k^s_{i-j} \qquad (\text{circular}) \\
        \hat u &= \sigma(m)\, u,\qquad m = \gamma(u) \\
        y &= \xi\big(x + \hat u^e \times v^e,\; f + \hat u^s v^s\big)

    :math:`\phi, \gamma, \xi` are token-wise tensor-product MLPs on ``0e+1o+1e+0o``, the paper's
    Clifford MLPs in irreps. Equivariant under O(3); translations are the network's affair.
    Both convolutions are divided by N (the paper says so of the vector one).

    Parameters
    ----------
    irreps_in : o3.Irreps or str
        Irreps of the tokens.
    irreps_out : o3.Irreps or str, optional
        Irreps of the result; ``irreps_in`` by default.
    irreps_hidden : o3.Irreps or str
        Scalars and vectors of q, k, v, of the form ``S x 0e + V x 1o``.
    num_channels : int
        Multivectors in the MLPs.

    Examples
    --------
    >>> operator = SE3Hyena("16x0e + 1o", irreps_hidden="8x0e + 1o")
    >>> operator(torch.randn(20, 19), batch=torch.arange(20) // 10).shape
    torch.Size([20, 19])
    """

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike | None = None,
        irreps_hidden: IrrepsLike = "16x0e + 16x1o",
        *,
        num_channels: int = 16,
    ) -> None:
        super().__init__()
        self.irreps_in = parse_irreps(irreps_in, "irreps_in")
        self.irreps_out = parse_irreps(irreps_out, "irreps_out", self.irreps_in)
        self.irreps_hidden = ChannelIrreps(parse_irreps(irreps_hidden, "irreps_hidden")).irreps
        self.num_scalars = self.irreps_hidden.count("0e")
        self.num_vectors = self.irreps_hidden.count("1o")
        if self.irreps_hidden.dim != self.num_scalars + 3 * self.num_vectors:
            raise ValueError(
                f"irreps_hidden={irreps_hidden}; the paper's operator has scalars and vectors "
                "only, for example '16x0e + 1x1o'; use HyenaOperator for other irreps"
            )
        hidden, total = self.irreps_hidden, self.num_scalars + self.num_vectors
        self.layout = RowLayout(self.irreps_in)
        self.projection = TensorProductMLP(self.irreps_in, 3 * hidden, num_channels)
        context = f"{self.num_scalars}x0e + {self.num_vectors}x1e"
        self.gate = TensorProductMLP(context, f"{total}x0e", num_channels)
        self.skip = TensorProductMLP(self.irreps_in, hidden, num_channels)
        self.output = TensorProductMLP(hidden, self.irreps_out, num_channels)
        self.scalar_paths = Paths("0e", "0e", "0e")
        self.cross = Paths("1o", "1o", "1e")
        self.cross_back = Paths("1e", "1o", "1o")
        self.unit = {p.key: _unit(p) for p in (self.scalar_paths, self.cross, self.cross_back)}
        reached = self.reached(kinds(self.irreps_in))
        if not kinds(self.irreps_out) <= reached:
            why = f"irreps_in={self.irreps_in} and the paper's operator give {listed(reached)}"
            warn_of_zeros(self.irreps_out, reached, why, "take HyenaOperator for other irreps")

    def forward(
        self, x: Tensor, batch: Tensor | Segments | None = None, *, ptr: Tensor | None = None
    ) -> Tensor:
        """``(num_tokens, irreps_in.dim)`` -> ``(num_tokens, irreps_out.dim)``."""
        check_features(x, self.layout)
        segments = Segments.build(len(x), batch, ptr, x.device)
        with full_precision(x):
            return self._operator(to_working(x, self), segments).to(x.dtype)

    def reached(self, given: Kinds) -> Kinds:
        """Kinds of irreps of the result that are not zero, for tokens of the given kinds."""
        streams = _products(self.skip, given) & kinds(self.irreps_hidden)
        return _products(self.output, streams) & kinds(self.irreps_out)

    def rows(self, x: Tensor, segments: Segments) -> Tensor:
        """The same, components by tokens, as a block wants it."""
        return self._operator(x.t(), segments).t()

    def _operator(self, x: Tensor, segments: Segments) -> Tensor:
        q, k, v = self.projection(x).chunk(3, dim=-1)
        q_s, q_e = self._streams(q)
        k_s, k_e = self._streams(k)
        v_s, v_e = self._streams(v)
        u_s = self.long_conv(q_s, k_s, self.scalar_paths, segments)
        u_e = self.long_conv(q_e, k_e, self.cross, segments)
        m_s, m_e = self.gate(self._tokens(u_s, u_e)).T.split([self.num_scalars, self.num_vectors])
        y_s = m_s[:, None].sigmoid() * u_s * v_s
        y_e = self.cross_product(m_e[:, None].sigmoid() * u_e, v_e, self.cross_back)
        return self.output(self.skip(x) + self._tokens(y_s, y_e))

    def long_conv(self, q: Tensor, k: Tensor, paths: Paths, segments: Segments) -> Tensor:
        """Circular convolution within every graph, divided by its length. ``(C, d, T)``."""
        dense = segments.exact
        weight = self._unit_weight(q, paths)
        parts = [
            tensor_product_long_conv(a.movedim(2, 0), b.movedim(2, 0), weight, paths).movedim(0, 2)
            / group.size
            for group, a, b in zip(dense.groups, dense.gather(q), dense.gather(k), strict=True)
        ]
        return dense.scatter(parts, q)

    def cross_product(self, a: Tensor, b: Tensor, paths: Paths) -> Tensor:
        """Plain cross product of vectors, ``(C, 3, T)``."""
        return tensor_product(a, b, self._unit_weight(a, paths), paths)

    def _unit_weight(self, like: Tensor, paths: Paths) -> Tensor:
        return like.new_full((1, like.shape[0]), self.unit[paths.key])

    def _streams(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(T, S + 3V)`` -> ``(S, 1, T)`` and ``(V, 3, T)``."""
        scalars, vectors = x.split([self.num_scalars, 3 * self.num_vectors], dim=-1)
        return scalars.T[:, None], vectors.unflatten(-1, (-1, 3)).permute(1, 2, 0)

    @staticmethod
    def _tokens(scalars: Tensor, vectors: Tensor) -> Tensor:
        """The reverse of :meth:`_streams`."""
        return torch.cat([scalars.squeeze(1).T, vectors.permute(2, 0, 1).flatten(1)], dim=-1)

    def extra_repr(self) -> str:
        numel = sum(p.numel() for p in self.parameters())
        return (
            f"{self.irreps_in} -> {self.irreps_hidden} -> {self.irreps_out}, circular | "
            f"{numel} parameters"
        )


def _products(mlp: TensorProductMLP, given: Kinds) -> Kinds:
    """Kinds of multivectors made of the given kinds."""
    given = given & kinds(mlp.paths.irreps1)
    return given | mlp.paths.reached(given, given)


def _unit(paths: Paths) -> float:
    """The weight at which a path is the plain product: of numbers, or the cross product."""
    reference = paths.coefficients(torch.float64)[0]
    value = reference[1, 2, 0] if paths.dims == (3, 3, 3) else reference[0, 0, 0]
    return 1 / value.item()
