"""Arguments of the module under test: what they are, drawing them, calling with them."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import torch
from e3nn import o3
from torch import Tensor, nn

from e3hyena.irreps import parse_irreps

Spec: TypeAlias = str | o3.Irreps | None
"""Irreps of an argument, or ``"cartesian_points"``, or None for something invariant."""

POINTS = "cartesian_points"
DEFAULT_NUM_TOKENS = 24


def read_specs(
    irreps: Spec | Sequence[Spec], module: Callable[..., Any], name: str
) -> tuple[Spec, ...]:
    """One entry per argument or output, by default the attribute ``module.<name>``."""
    if irreps is None:
        irreps = getattr(module, name, None)
        if irreps is None:
            raise ValueError(f"{type(module).__name__} has no attribute {name}: pass {name}=...")
    if isinstance(irreps, str | o3.Irreps):
        irreps = [irreps]
    return tuple(
        entry if entry is None or entry == POINTS else parse_irreps(entry, name) for entry in irreps
    )


def count_tokens(
    num_tokens: int | None, args_in: Sequence[Any] | None, batch: Tensor | None
) -> int:
    """Number of tokens asked for, or the length of what was given, or the default."""
    given = [a for a in [batch, *(args_in or [])] if isinstance(a, Tensor) and a.dim() > 0]
    if num_tokens is not None:
        return num_tokens
    return given[0].shape[0] if given else DEFAULT_NUM_TOKENS


def draw_arguments(
    specs: Sequence[Spec], args_in: Sequence[Any] | None, num_tokens: int, seed: int
) -> list[Any]:
    """Positional arguments in float64: those given, the others normal with unit variance.

    Positions spread with the number of tokens, about one per unit volume.
    """
    if args_in is None:
        args_in = [None] * len(specs)
    if len(args_in) != len(specs):
        raise ValueError(f"args_in has {len(args_in)} entries, irreps_in has {len(specs)}")
    generator = torch.Generator().manual_seed(seed)
    arguments = []
    for i, (spec, value) in enumerate(zip(specs, args_in, strict=True)):
        if value is None and spec is None:
            raise ValueError(f"argument {i} is invariant and cannot be drawn: give it in args_in")
        if value is None:
            dim = 3 if spec == POINTS else o3.Irreps(spec).dim
            scale = num_tokens ** (1 / 3) if spec == POINTS else 1.0
            shape = (num_tokens, dim)
            value = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        arguments.append(cast(value, torch.float64))
    return arguments


def jitter(arguments: Sequence[Any], specs: Sequence[Spec], seed: int) -> list[Any]:
    """The same arguments with noise of a tenth of their size on features and positions."""
    generator = torch.Generator().manual_seed(seed + 1_000_003)  # not the noise drawn above
    changed = list(arguments)
    for i, (value, spec) in enumerate(zip(arguments, specs, strict=True)):
        if spec is not None and value.numel() > 0:
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            size = value.double().square().mean().sqrt()
            changed[i] = (value.double() + 0.1 * size * noise).to(value.dtype)
    return changed


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors in this dtype, anything else as it is."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value


def name_of(module: object) -> str:
    """Name of a function, or of a module's class."""
    return getattr(module, "__qualname__", type(module).__name__)


class Subject:
    """A copy of the module in one dtype, called with arguments cast to it."""

    def __init__(
        self, module: Callable[..., Any], dtype: torch.dtype, kwargs: Mapping[str, Any]
    ) -> None:
        self.name = name_of(module)
        self.dtype = dtype
        self.kwargs = {key: cast(value, dtype) for key, value in kwargs.items()}
        self.module = deepcopy(module).to(dtype) if isinstance(module, nn.Module) else module

    def __call__(self, arguments: Sequence[Any], **kwargs: Any) -> list[Tensor]:
        """Outputs as a list of float64 tensors."""
        __tracebackhide__ = True
        kwargs = {**self.kwargs, **{key: cast(value, self.dtype) for key, value in kwargs.items()}}
        output = self.module(*(cast(a, self.dtype) for a in arguments), **kwargs)
        outputs = list(output) if isinstance(output, tuple | list) else [output]
        for tensor in outputs:
            if tensor.dtype != self.dtype:
                raise AssertionError(f"{self.name} returns {tensor.dtype} for {self.dtype} input")
        return [tensor.detach().double() for tensor in outputs]
