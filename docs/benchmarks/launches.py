"""Counting what a pass would launch on a GPU, without one.

Tensors of the device ``meta`` have shapes and no numbers, so a pass over them asks torch for the
very operators that it would ask for on CUDA, and cannot read a number back: whatever needs one, and
would wait for the GPU, is an error. The operators are those of the Triton back-end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from e3hyena.ops.backends import BACKENDS, triton, use_backend

_NO_LAUNCH = {"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "detach"}
_VIEWS = {"_unsafe_view", "_reshape_alias", "alias", "lift_fresh", "reshape", "set_"}
_COPIED_FIRST = {"_fft_c2r"}  # the transform destroys its operand, so torch copies it


class Launches(TorchDispatchMode):
    """Count, within a ``with`` block, operators by name; views and new memory are none.

    An operator of torch counts as one launch, although some (sorts, sums of many numbers) are more.
    Opaque operators are opened: what their back-end asks for counts, and every kernel of Triton.

    Attributes
    ----------
    launches, copies_from_host : Counter
        By name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.copies_from_host: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Number of all launches."""
        return sum(self.launches.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if name.startswith("e3hyena::"):
            with self:
                return torch._library.custom_ops.OPDEFS[name]._init_fn(*args, **kwargs)
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        short = name.split("::")[1]
        given = _devices((args, kwargs))
        result = func(*args, **kwargs)
        if "meta" not in given | _devices(result):
            return result
        if given == {"cpu"}:
            self.copies_from_host[short] += 1
        elif short not in _NO_LAUNCH | _VIEWS and not _is_view(func) and not _is_empty(result):
            copied = short == "addmm" and kwargs.get("beta") != 0 and args[0].shape != result.shape
            self.launches[short] += 2 if copied or short in _COPIED_FIRST else 1
        return result


def _is_view(func: Any) -> bool:
    aliases = [value.alias_info for value in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


def _tensors(value: Any) -> list[torch.Tensor]:
    leaves = torch.utils._pytree.tree_leaves(value)
    return [x for x in leaves if isinstance(x, torch.Tensor)]


def _devices(value: Any) -> set[str]:
    return {x.device.type for x in _tensors(value)}


def _is_empty(result: Any) -> bool:
    tensors = _tensors(result)
    return bool(tensors) and not any(x.numel() for x in tensors)


class _Fused(torch.autograd.Function):
    """Attention by torch's kernel: one launch each way, and two that turn a mask into numbers."""

    @staticmethod
    def forward(ctx: Any, launches: Launches, q: Any, k: Any, v: Any, mask: Any) -> Any:
        ctx.launches, ctx.shapes = launches, [x.shape for x in (q, k, v)]
        launches.launches["scaled_dot_product_attention"] += 1 if mask is None else 3
        return torch.empty_like(v)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        ctx.launches.launches["scaled_dot_product_attention_backward"] += 1
        return None, *(grad.new_empty(shape) for shape in ctx.shapes), None


class _Counted(triton.Triton):
    """The Triton back-end for tensors without numbers."""

    name = "counted"
    devices = ("meta",)


@contextmanager
def counting() -> Iterator[Launches]:
    """Count launches of what is computed on tensors of the device ``meta``.

    Examples
    --------
    >>> from e3hyena import HyenaOperator
    >>> operator = HyenaOperator("32x0e + 32x1o").to("meta")
    >>> with counting() as launches:
    ...     y = operator(torch.empty(100, 128, device="meta"))
    >>> launches.copies_from_host, launches.launches["_fft_r2c"]
    (Counter(), 2)
    """
    launches = Launches()

    def launch(code: str, name: str, *_: Any, **__: Any) -> None:
        launches.launches[f"triton {name}"] += 1

    def from_numbers(*given: Any, **options: Any) -> torch.Tensor:
        x = made(*given, **options)
        launches.copies_from_host["tensor"] += x.is_meta
        return x

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn_mask: Any = None) -> Any:
        if torch.backends.cuda.math_sdp_enabled() and not torch.backends.cuda.flash_sdp_enabled():
            return plain(q, k, v, attn_mask=attn_mask)
        return _Fused.apply(launches, q, k, v, attn_mask)

    plain = torch.nn.functional.scaled_dot_product_attention
    made = torch.tensor
    with (
        mock.patch.object(torch, "tensor", from_numbers),
        mock.patch.object(
            torch.Tensor, "new_tensor", lambda x, v: from_numbers(v, dtype=x.dtype, device=x.device)
        ),
        mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attend),
        mock.patch.dict(BACKENDS, counted=_Counted()),
        mock.patch.object(triton.kernels, "launch", launch),
        use_backend("counted"),
        launches,
    ):
        yield launches
