"""Small network of the invariants of a token."""

import torch
from torch import Tensor, nn

_GAIN = 1.5


class InvariantMLP(nn.Module):
    r"""Linear, SiLU, linear.

    .. math:: y = \tfrac{g}{\sqrt h} W_2\,
              \mathrm{silu}\big(\tfrac{g}{\sqrt n} W_1 s + b_1\big) + b_2

    W are drawn from a unit normal and g = 1.5 makes y about as wide as s. Scaling the products
    instead of the weights lets one learning rate suit these and the weights of all other layers.
    """

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        sizes = [num_in, 2 * num_out, num_out]
        self.weights = nn.ParameterList(
            torch.empty(sizes[i + 1], sizes[i]) for i in range(len(sizes) - 1)
        )
        self.biases = nn.ParameterList(torch.empty(size) for size in sizes[1:])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw unit-normal weights, zero biases."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            nn.init.normal_(weight)
            nn.init.zeros_(bias)

    def forward(self, s: Tensor) -> Tensor:
        """``(num_in, T)`` -> ``(num_out, T)``."""
        return self._linear(1, nn.functional.silu(self._linear(0, s)))

    def _linear(self, layer: int, s: Tensor) -> Tensor:
        scale = _GAIN * max(len(s), 1) ** -0.5
        return torch.addmm(self.biases[layer][:, None], self.weights[layer], s, alpha=scale)
