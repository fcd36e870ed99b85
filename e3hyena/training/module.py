"""The training step, the validation step and the optimiser, for Lightning."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from e3hyena._extras import require
from e3hyena.data.targets import Target
from e3hyena.models import energy_and_forces, energy_forces_stress
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.capture import Captured
from e3hyena.training.config import OptimConfig
from e3hyena.training.molecules import Batch
from e3hyena.training.padding import Padded
from e3hyena.training.parts import (
    labels_of,
    means,
    outputs_of,
    part_errors,
    present,
)
from e3hyena.training.processes import ALONE, Share
from e3hyena.training.scaling import Scaling
from e3hyena.training.tasks import errors, force_errors

pl: Any = require("lightning.pytorch", "train")


def learning_rate_factor(schedule: str, warmup: float, progress: float) -> float:
    """Learning rate relative to its largest value."""
    progress = min(progress, 1.0)
    if progress < warmup:
        ramp = progress / warmup
        return ramp if schedule != "one_cycle" else 0.5 - 0.5 * math.cos(math.pi * ramp)
    if schedule == "constant":
        return 1.0
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))


class Regression(pl.LightningModule):
    """Fits a network's output per molecule to labels in the network's scale.

    `share` says which part of every batch is computed here; means are over the whole batch.
    """

    def __init__(
        self, model: nn.Module, task: Target, scaling: Scaling, optim: OptimConfig, clock: Clock,
        share: Share = ALONE,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model = model
        self.task = task
        self.scaling = scaling
        self.optim = optim
        self.clock = clock
        self.share = share
        self._captured = Captured(model, self.loss_and_metric)
        self.val_metrics: dict[str, float] = {}
        self._val_errors: list[dict[str, Tensor]] = []

    def training_step(self, batch: Batch | Padded, batch_idx: int) -> dict[str, Tensor]:
        """Loss in the network's scale, its mean over the processes, first metric in its unit."""
        if isinstance(batch, Padded) and batch.pos.is_cuda:
            loss, metric = self._captured(batch)
        else:
            loss, metric = self.loss_and_metric(batch)
        if not len(batch.label):  # a share of nothing; the gradient of every weight is waited for
            loss = loss + 0.0 * torch.stack([w.sum() for w in self.parameters()]).sum()
        mean = self.share.total(loss) / self.share.world
        if not torch.isfinite(mean):
            raise ValueError(
                f"the loss became {float(mean)} at step {self.trainer.global_step}: "
                "lower optim.lr or set optim.grad_clip (the last checkpoint is intact)"
            )
        return {"loss": loss, "mean": mean, "metric": metric}

    def loss_and_metric(self, batch: Batch | Padded) -> tuple[Tensor, Tensor]:
        """Loss in the network's scale, first metric in its unit."""
        loss, found = self._step(batch)
        return loss, self._first(self.share.means(found))

    def _first(self, found: dict[str, Tensor]) -> Tensor:
        """Mean of the first metric."""
        return next(iter(found.values())).nanmean() * float(self.scaling.scale)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the errors of a batch."""
        self._val_errors.append(self._step(batch)[1])

    def _step(self, batch: Batch | Padded) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch, and its errors without graph, NaN at padding."""
        output = self.model(batch.z, batch.pos, batch.batch, **batch.lattice)
        return self._loss(output, batch.label), errors(self.task, output.detach(), batch.label)

    def _loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Mean of the lengths of errors ``(n, dim)``, or of their squares; no label is NaN."""
        there = present(label)
        squared = torch.where(there.unsqueeze(-1), output - label, 0.0).square().sum(dim=-1)
        # The root of a small positive number: the gradient of |x| is finite at 0.
        size = squared if self.optim.loss == "mse" else (squared + 1e-12).sqrt()
        return self._mean(size, there)

    def _mean(self, values: Tensor, there: Tensor) -> Tensor:
        """Mean of the values (n,) of the batch that are there, or what is added to it here."""
        number = self.share.total(there.sum()).clamp(min=1)
        return torch.where(there, values, 0.0).sum() * self.share.world / number

    def on_validation_epoch_end(self) -> None:
        """Turn them into means in the label's unit."""
        names = self._val_errors[0]
        found = {name: torch.cat([part[name] for part in self._val_errors]) for name in names}
        self._val_errors.clear()
        self.val_metrics = self._means(self.share.means(found))

    def _means(self, found: dict[str, Tensor]) -> dict[str, float]:
        scale = float(self.scaling.scale)
        return {name: float(error.mean()) * scale for name, error in found.items()}

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW and its schedule, stepped after every batch."""
        optim = self.optim
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=optim.lr, weight_decay=optim.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(
                optim.schedule, optim.warmup, self.clock.scheduled(step)
            ),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class ForceRegression(Regression):
    """Fits an energy and its derivatives, forces and stress, all in the network's scale."""

    def _step(self, batch: Batch | Padded) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.force is not None
        derivatives = energy_and_forces if batch.stress is None else energy_forces_stress
        energy, force, *stress = derivatives(
            self.model,
            batch.z,
            batch.pos,
            batch.batch,
            create_graph=self.training,
            **batch.lattice,
        )
        loss = self._loss(force, batch.force)
        loss = loss + self.optim.energy_weight * self._loss(energy, batch.label)
        if batch.stress is not None and batch.cell is not None:
            # times the volume of an atom: a length of the size of forces
            counts = torch.bincount(batch.batch, minlength=len(batch.cell)).to(batch.cell.dtype)
            volume = (torch.linalg.det(batch.cell).abs() / counts).unsqueeze(1)
            found, wanted = (x.flatten(1) * volume for x in (stress[0], batch.stress))
            loss = loss + self.optim.stress_weight * self._loss(found, wanted)
        answer = tuple(value.detach() for value in (energy, force, *stress))
        return loss, force_errors(answer, (batch.label, batch.force, batch.stress))


class PartsRegression(Regression):
    """Fits several quantities, of molecules and of atoms, some of whose labels may be missing."""

    def _step(self, batch: Batch | Padded) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(batch, Batch)
        output = self.model(batch.z, batch.pos, batch.batch)
        pool = getattr(self.model, "pool", None)
        outputs = outputs_of(self.task, output, batch.batch, len(batch.label), pool)
        labels = labels_of(self.task, batch.label, batch.atom_label)
        loss = output.new_zeros(())
        for part, value, label in zip(self.task.each, outputs, labels, strict=True):
            loss = loss + self.optim.weights.get(part.name, 1.0) * self._loss(value, label)
        detached = [value.detach() for value in outputs]
        return loss, part_errors(self.task, self.scaling, detached, labels)

    def _first(self, found: dict[str, Tensor]) -> Tensor:
        return torch.tensor(next(iter(self._means(found).values())), device="cpu")

    def _means(self, found: dict[str, Tensor]) -> dict[str, float]:
        return means(self.task, self.scaling, found)
