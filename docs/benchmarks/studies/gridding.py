"""Moments of scattered coordinates: summed mode by mode, or spread on a grid and transformed."""

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import TimedConfig, caption, interleave, plain_study, table
from e3hyena.testing.measure import relative_error

WIDTH = 7  # grid points that a token reaches
BETA = 2.3 * WIDTH


@dataclass(kw_only=True)
class GriddingConfig(TimedConfig):
    """What to measure.

    Parameters
    ----------
    heads : int
        Number of coordinates.
    rows : int
        Components that share a coordinate.
    tokens : list of int
        Numbers of tokens.
    modes : list of int
        Numbers of modes M.
    """

    heads: int = 8
    rows: int = 16
    tokens: list[int] = field(default_factory=lambda: [1024, 8192, 65536])
    modes: list[int] = field(default_factory=lambda: [16, 32, 64, 128, 256, 512, 1024])


def direct_moments(z: Tensor, b: Tensor, modes: int) -> Tensor:
    """``sum_n z_n exp(-i m b_n)``, m < modes: ``(H, D, N)``, ``(H, N)`` -> ``(H, D, M)``."""
    angle = b[:, :, None] * torch.arange(modes, dtype=b.dtype)
    return torch.complex(z @ angle.cos(), -(z @ angle.sin()))


def gridded_moments(z: Tensor, b: Tensor, modes: int) -> Tensor:
    r"""The same by a non-uniform FFT: spread on a grid of about 4M points, transform, correct.

    The kernel is the "exponential of semicircle" :math:`e^{\beta(\sqrt{1-x^2}-1)}` of FINUFFT
    (Barnett, Magland, af Klinteberg, 2019), 7 points wide, relative error about 1e-6.
    """
    points = max(4 * modes, 2 * WIDTH)
    place = torch.remainder(b * (points / (2 * math.pi)), points)
    first = (place - WIDTH / 2).ceil()
    index = first[..., None] + torch.arange(WIDTH, dtype=b.dtype)  # (H, N, w)
    window = _window((index - place[..., None]) * (2 / WIDTH))
    spread = (z[..., None] * window[:, None]).flatten(2)
    target = torch.remainder(index, points).long().flatten(1)[:, None].expand(spread.shape)
    grid = z.new_zeros(*z.shape[:2], points).scatter_add_(2, target, spread)
    return torch.fft.rfft(grid)[..., :modes] / _correction(modes, points, b.dtype)


def _window(x: Tensor) -> Tensor:
    return torch.exp(BETA * ((1 - x.square()).clamp(min=0).sqrt() - 1))


def _correction(modes: int, points: int, dtype: torch.dtype) -> Tensor:
    """Transform of the window at the modes, by quadrature."""
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    frequency = math.pi * WIDTH / points * torch.arange(modes, dtype=torch.float64)
    values = _window(x) * torch.cos(frequency[:, None] * x)
    return (torch.trapezoid(values, x) * (WIDTH / 2)).to(dtype)


def measure(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Time both ways at all numbers of tokens and modes."""
    generator = torch.Generator().manual_seed(0)
    result: dict[int, Any] = {}
    for n in values["tokens"]:
        z = torch.randn(values["heads"], values["rows"], n, generator=generator)
        b = torch.randn(values["heads"], n, generator=generator)
        result[n] = {}
        for modes in values["modes"]:
            check(z, b, modes)
            calls = {
                "direct": partial(direct_moments, z, b, modes),
                "gridded": partial(gridded_moments, z, b, modes),
            }
            result[n][modes] = interleave(calls, values["repeats"])
    return {"tokens": result}


def check(z: Tensor, b: Tensor, modes: int) -> None:
    """Refuse to report on a wrong result."""
    z, b = z[:1, :1, :512], b[:1, :512]
    expected = direct_moments(z.double(), b.double(), modes)
    error = relative_error([gridded_moments(z, b, modes)], [expected])
    if not error < 1e-4:
        raise RuntimeError(f"gridded moments are off by {error:.1e} at M = {modes}")


def render(report: dict[str, Any]) -> str:
    config = report["config"]
    rows = [
        [f"{int(n):,}"]
        + [f"{t['gridded']['median'] / t['direct']['median']:.2f}" for t in by_modes.values()]
        for n, by_modes in report["tokens"].items()
    ]
    return (
        f"Time of the moments on a grid over that of the sum mode by mode, {config['heads']} heads "
        f"of {config['rows']} components ({caption(report)}); below 1 the grid is faster.\n\n"
        + table(["tokens", *(f"M = {m}" for m in config["modes"])], rows)
    )


STUDY = plain_study("gridding", GriddingConfig, measure, render)
