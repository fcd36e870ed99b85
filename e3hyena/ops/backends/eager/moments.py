"""Sums over features of tokens in plain torch, and their gradients, which torch differentiates.

See :mod:`e3hyena.ops.moments`.
"""

import torch
from torch import Tensor

from e3hyena.ops.features import by_head, features


def moments(
    coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor, frequencies: Tensor, degree: int,
    gram: bool,
) -> Tensor:  # fmt: skip
    """See :func:`e3hyena.ops.moments.moments`."""
    phi = features(coordinate, x, frequencies, degree)
    rows = by_head(values, len(frequencies))
    rows = torch.cat([rows, phi], dim=2) if gram else rows
    return rows @ (phi * weight[:, :, None]).transpose(2, 3)


def moments_backward(
    grad: Tensor, coordinate: Tensor, weight: Tensor, x: Tensor, values: Tensor,
    frequencies: Tensor, degree: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients by coordinate, weight, x, values and frequencies."""
    phi = features(coordinate, x, frequencies, degree)
    rows = by_head(values, len(frequencies))
    joint = torch.cat([rows, phi], dim=2)
    product = symmetric(grad, rows.shape[2]) @ joint
    by_weight = (joint * product).sum(dim=2) / 2
    by_rows, by_phi = (product * weight[:, :, None]).split([rows.shape[2], phi.shape[2]], dim=2)
    by_coordinate, by_x, by_frequencies = _features_backward(
        by_phi, phi, coordinate, x, frequencies, degree
    )
    by_values = by_rows.transpose(1, 2).reshape(values.shape)
    return by_coordinate, by_weight, by_x, by_values, by_frequencies


def read(
    moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> Tensor:
    """See :func:`e3hyena.ops.moments.read`."""
    phi = features(coordinate, x, frequencies, degree)
    return (moments @ phi).transpose(1, 2).reshape(x.shape)


def read_backward(
    grad: Tensor, moments: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> tuple[Tensor, ...]:
    """Gradients by moments, coordinate, x and frequencies."""
    phi = features(coordinate, x, frequencies, degree)
    rows = by_head(grad, len(frequencies))
    by_phi = moments.transpose(2, 3) @ rows
    by_features = _features_backward(by_phi, phi, coordinate, x, frequencies, degree)
    return rows @ phi.transpose(2, 3), *by_features


def symmetric(grad: Tensor, rows: int) -> Tensor:
    """Gradient by the sums of all products of rows with rows, values and features together."""
    by_values, by_gram = grad[:, :, :rows], grad[:, :, rows:]
    if not by_gram.shape[2]:
        by_gram = grad.new_zeros(*grad.shape[:2], grad.shape[3], grad.shape[3])
    nothing = grad.new_zeros(*grad.shape[:2], rows, rows)
    upper = torch.cat([nothing, by_values], dim=3)
    lower = torch.cat([by_values.transpose(2, 3), by_gram + by_gram.transpose(2, 3)], dim=3)
    return torch.cat([upper, lower], dim=2)


def _features_backward(
    grad: Tensor, phi: Tensor, coordinate: Tensor, x: Tensor, frequencies: Tensor, degree: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by coordinate, x (empty if it makes no feature) and frequencies."""
    waves, heads = frequencies.shape[1], len(frequencies)
    sizes = [1, waves, waves, grad.shape[2] - 1 - 2 * waves]
    _, cosine, sine, _ = phi.split(sizes, dim=2)
    _, by_cosine, by_sine, by_power = grad.split(sizes, dim=2)
    by_angle = cosine * by_sine - sine * by_cosine
    by_coordinate = (frequencies[:, None, :, None] * by_angle).sum(dim=2)
    by_frequencies = (coordinate[:, :, None] * by_angle).sum(dim=(1, 3))
    if not degree:
        return by_coordinate, x.new_empty(0), by_frequencies
    scale = (len(x) // heads * x.shape[1]) ** -0.5
    return by_coordinate, (by_power * scale).transpose(1, 2).reshape(x.shape), by_frequencies
