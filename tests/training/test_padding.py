"""Padded batches: few shapes, every molecule once, and the losses and gradients of the others."""

import itertools

import pytest
import torch
from benchmarks.launches import counting

from e3hyena import HyenaNet
from e3hyena.data import TARGETS, QM9Extract
from e3hyena.training import ModelConfig, OptimConfig, train
from e3hyena.training.callbacks.clock import Clock
from e3hyena.training.capture import Captured, Pure
from e3hyena.training.files import read_json
from e3hyena.training.module import ForceRegression, Regression
from e3hyena.training.molecules import Molecules, TrainLoader
from e3hyena.training.padding import PaddedLoader
from e3hyena.training.scaling import fit_scaling
from e3hyena.training.tasks import get_task

MIXERS = ["coordinate", "attention", "linear_attention", None]


@pytest.fixture(scope="module")
def molecules():
    found = Molecules.from_dataset(QM9Extract("test"), TARGETS["dipole"], 500, "data.test")
    return found._replace(pos=found.pos.double(), label=found.label.double())


def regression(mixer, forces, cutoff=3.0, num_layers=2):
    task = get_task("forces" if forces else "dipole")
    torch.manual_seed(0)
    net = HyenaNet(
        task.irreps,
        irreps_hidden="4x0e + 4x1o",
        num_layers=num_layers,
        mixer=mixer,
        cutoff=cutoff,
    ).double()
    scaling = fit_scaling(
        torch.randn(9, 3), torch.ones(9), torch.arange(9), per_atom=False, summed=True
    )
    kind = ForceRegression if forces else Regression
    return kind(net, task, scaling, OptimConfig(), Clock(1))


def with_forces(molecules):
    label, force = molecules.label[:, :1], torch.randn_like(molecules.pos)
    return molecules._replace(label=label, force=force)


@pytest.mark.parametrize("forces", [False, True])
@pytest.mark.parametrize("mixer", MIXERS)
def test_losses_and_gradients_are_those_without_padding(molecules, mixer, forces):
    given = with_forces(molecules) if forces else molecules
    module = regression(mixer, forces)
    weights = [w for w in module.parameters() if w.requires_grad]
    found = []
    for loader in (TrainLoader(given, 7, 1), PaddedLoader(given, 7, 1, 3.0)):
        for batch in itertools.islice(loader, 2):
            loss, metric = module.loss_and_metric(batch)
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            found.append([loss, metric, *(g for g in gradients if g is not None)])
    for plain, padded in zip(found[:2], found[2:], strict=True):
        for a, b in zip(plain, padded, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-12, atol=1e-12)


def test_without_cutoff(molecules):
    module = regression("coordinate", False, cutoff=None)
    loaders = TrainLoader(molecules, 7, 1), PaddedLoader(molecules, 7, 1, None)
    plain, padded = (module.loss_and_metric(next(iter(loader)))[0] for loader in loaders)
    torch.testing.assert_close(padded, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch_size", [32, 128])
def test_few_shapes_and_every_molecule_once(molecules, batch_size):
    loader = PaddedLoader(molecules, batch_size, 0, 3.0)
    labels, shapes = [], set()
    for _ in range(3):
        for batch in loader:
            shapes.add(tuple(x.shape for x in batch if isinstance(x, torch.Tensor)))
            there = ~batch.label.isnan().any(dim=1)
            labels.append(batch.label[there])
            sizes = batch.batch.sizes
            assert 1 <= sizes.min() and sizes.max() <= loader.longest
            assert not (batch.graph.diff() < 0).any()
            assert torch.equal(batch.graph[batch.edges[0]], batch.graph[batch.edges[1]])
    assert len(shapes) <= 12
    expected = molecules.label.repeat(3, 1).tolist()
    assert sorted(torch.cat(labels).tolist()) == sorted(expected)


def test_one_batch_for_all_and_single_atoms(molecules):
    loader = PaddedLoader(molecules, 9999, 0, 3.0)
    assert len(list(loader)) == 1
    atoms = Molecules(torch.ones(5).long(), torch.zeros(5, 3), torch.arange(6), torch.zeros(5, 1))
    for batch in PaddedLoader(atoms, 2, 0, 3.0):
        assert batch.batch.sizes.max() <= 2 and len(batch.z) == len(batch.graph)


@pytest.mark.parametrize("forces", [False, True])
@pytest.mark.parametrize("mixer", MIXERS)
def test_nothing_waits_for_the_gpu(molecules, mixer, forces):
    """So a step can be captured."""
    given = with_forces(molecules) if forces else molecules
    module = regression(mixer, forces, num_layers=1)
    batch = next(iter(PaddedLoader(given, 7, 1, 3.0)))
    pure = Pure(module.model.to("meta"), module.loss_and_metric, batch)
    tensors = [x.to("meta") for x in batch if isinstance(x, torch.Tensor)]
    for _ in range(2):  # constants are kept at the first time
        with counting() as launches:
            pure(*tensors)[0].backward()
    assert launches.total and not launches.copies_from_host


def test_one_capture_for_every_shape(molecules, monkeypatch):
    made = []

    def graphed(module, sample, **_):
        made.append(sample)
        return module

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", graphed)
    module = regression(None, False)
    captured = Captured(module.model, module.loss_and_metric)
    batches = list(PaddedLoader(molecules, 32, 0, 3.0))
    for batch in batches:
        assert torch.equal(captured(batch)[0], module.loss_and_metric(batch)[0])
    shapes = {tuple(x.shape for x in batch if isinstance(x, torch.Tensor)) for batch in batches}
    assert len(made) == len(shapes) < len(batches)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"compile": True}, "compile"),
        ({"devices": 2}, "several processes"),
        ({"model": ModelConfig(mixer="query_key")}, "mixer query_key"),
        ({"model": ModelConfig(mixer_options={"range": 5.0})}, "a range"),
        ({"task": "gap, dipole"}, "several properties"),
    ],
)
def test_what_is_not_captured(tiny, changes, found):
    with pytest.raises(ValueError, match=f"capture with .*{found}"):
        train(tiny(capture=True, **changes))


def test_training_gives_the_same(tiny):
    runs = [tiny(str(capture), capture=capture) for capture in (False, True)]
    plain, padded = (
        train(config) and read_json(f"{config.output}/model/fit.json") for config in runs
    )
    for a, b in zip(plain["history"], padded["history"], strict=True):
        assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-4)
        assert b["val_norm_mae"] == pytest.approx(a["val_norm_mae"], rel=1e-3)
