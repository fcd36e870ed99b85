"""Root-mean-square norm of the rows of features."""

from torch import Tensor

from e3hyena.ops.backends import launches, select
from e3hyena.ops.backends.eager import rows
from e3hyena.ops.opaque import opaque, paired
from e3hyena.ops.precision import full_precision


def norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    r"""Divide every token by its weighted root mean square, then scale every component.

    .. math:: y_{rt} = s_r\, x_{rt} \Big/ \sqrt{\textstyle\sum_{\rho} w_\rho x_{\rho t}^2 +
              \varepsilon}
    """
    if x.stride(-1) != 1 and not launches.few_launches(x.device):
        # e3nn's layout, transposed: nothing to gain from contiguous tokens
        return rows.norm(x, weight, scale, eps)
    out: Tensor = _norm(x, weight, scale, eps)
    return out


@opaque(
    fake=lambda to_x, to_scale, grad, x, weight, scale, eps: (
        *(x.new_empty(x.shape) for _ in range(2)),
        scale.new_empty(scale.shape),
    )
)
def _norm_tangent(
    to_x: Tensor, to_scale: Tensor, grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    with full_precision(x):
        return select(x).norm_tangent(to_x, to_scale, grad, x, weight, scale, eps)


@opaque(
    fake=lambda grad, x, weight, scale, eps: (x.new_empty(x.shape), scale.new_empty(scale.shape)),
    gradient=paired(_norm_tangent, (0, 1, 3), rows.norm_tangent, results=2),
)
def _norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    with full_precision(x):
        by_x, by_scale = select(x).norm_backward(grad, x, weight, scale, eps)
        return by_x.contiguous(), by_scale


@opaque(
    fake=lambda x, weight, scale, eps: x.new_empty(x.shape),
    gradient=paired(_norm_backward, (0, 2)),
)
def _norm(x: Tensor, weight: Tensor, scale: Tensor, eps: float) -> Tensor:
    with full_precision(x):
        return select(x).norm(x, weight, scale, eps).contiguous()
