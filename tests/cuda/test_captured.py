"""Training steps captured on a GPU: losses and gradients are those of the same steps as called."""

import pytest
import torch

from e3hyena import HyenaNet
from e3hyena.data import QM9Extract
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.capture import Captured
from e3hyena.training.config import OptimConfig
from e3hyena.training.module import ForceRegression, Regression
from e3hyena.training.molecules import Molecules
from e3hyena.training.padding import PaddedLoader
from e3hyena.training.scaling import fit_scaling
from e3hyena.training.tasks import get_task

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU: torch sees no CUDA device"
)


@pytest.mark.parametrize("forces", [False, True])
@pytest.mark.parametrize("mixer", ["coordinate", "attention", "linear_attention", None])
def test_a_captured_step_gives_the_same(mixer, forces):
    found = Molecules.from_dataset(QM9Extract("test"), get_task("gap"), 200, "data.test")
    if forces:
        found = found._replace(force=torch.randn_like(found.pos))
    torch.manual_seed(0)
    net = HyenaNet("0e", irreps_hidden="8x0e + 8x1o", num_layers=2, mixer=mixer, cutoff=3.0).cuda()
    scaling = fit_scaling(found.label, found.z, found.batch, per_atom=False, summed=True)
    kind = ForceRegression if forces else Regression
    module = kind(net, get_task("forces"), scaling, OptimConfig(), Clock(1))
    captured = Captured(net, module.loss_and_metric)
    loader = PaddedLoader(found, 16, 0, 3.0)
    for _ in range(2):
        for batch in loader:
            batch = batch._make(x.cuda() if isinstance(x, torch.Tensor) else x for x in batch)
            results = []
            for step in (module.loss_and_metric, captured):
                net.zero_grad()
                loss, metric = step(batch)
                loss.backward()
                gradients = [w.grad.clone() for w in net.parameters() if w.grad is not None]
                results.append([loss.detach(), metric, *gradients])
            for a, b in zip(*results, strict=True):
                torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4)
