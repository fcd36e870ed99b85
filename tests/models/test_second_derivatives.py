"""Second derivatives are looked at before they are trusted."""

import pytest
import torch

from e3hyena.models import second_derivatives
from e3hyena.models.second_derivatives import check_second_derivatives


def test_a_wrong_second_derivative_is_refused(monkeypatch):
    check_second_derivatives.cache_clear()
    right, calls = second_derivatives._second, []

    def once_wrong(operator, x, sizes):
        calls.append(x)
        return right(operator, x, sizes) * (1.14 if len(calls) == 4 else 1.0)

    monkeypatch.setattr(second_derivatives, "_second", once_wrong)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match=r"differ from the CPU's by 1\.4e-01.*train on the CPU"):
        check_second_derivatives(torch.device("cpu"))
    assert torch.equal(state, torch.get_rng_state())
    check_second_derivatives(torch.device("cpu"))
    check_second_derivatives(torch.device("cpu"))
    assert len(calls) == 8  # looked at once where it is right
    check_second_derivatives.cache_clear()
