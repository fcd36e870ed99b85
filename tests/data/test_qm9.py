import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch_geometric.datasets import qm9 as pyg
from torch_geometric.loader import DataLoader

import e3hyena.data.qm9 as module
from e3hyena.data import QM9
from e3hyena.data.qm9pack import WHEEL

HEADER, *ROWS = Path(__file__).with_name("qm9_rows.csv").read_text().splitlines()
IDS = [1, 2, 3, 16, 39]  # methane, ammonia, water (train), cyclopropane (test), butane (val)


def write_wheel(raw: Path, rows: list[str] = ROWS) -> None:
    """A wheel of the published format with a few molecules, the last one first."""
    raw.mkdir(parents=True)
    with zipfile.ZipFile(raw / WHEEL, "w") as archive:
        for part, of_part in enumerate((rows[-1:], rows[:2], rows[2:-1]), start=1):
            text = "\n".join([HEADER, *of_part]) + "\n"
            archive.writestr(f"qm9pack/data/qm9_part{part}.csv", text)


@pytest.fixture
def root(tmp_path):
    write_wheel(tmp_path / "raw")
    return tmp_path


def test_fields(root):
    dataset = QM9(root)
    assert (dataset.idx + 1).tolist() == IDS
    methane = dataset[0]
    assert methane.z.tolist() == [6, 1, 1, 1, 1]
    assert methane.name == "gdb_1"
    assert methane.smiles == "C"
    assert methane.pos.dtype == methane.y.dtype == torch.float32
    torch.testing.assert_close(
        methane.pos[2], torch.tensor([1.0117308433, 1.4637511618, 0.0002765748])
    )
    assert methane.y.shape == (1, 19)
    assert float(methane.y[0, 7]) == pytest.approx(-40.47893 * pyg.HAR2EV, rel=1e-7)
    assert float(methane.y[0, 12]) == pytest.approx(-395.999594594 * pyg.KCALMOL2EV, rel=1e-5)
    water = dataset[2]
    assert water.z.tolist() == [8, 1, 1]
    assert float(water.y[0, 0]) == pytest.approx(1.8511, rel=1e-6)
    assert dataset[3].num_nodes == 9
    assert dataset[4].num_nodes == 14


def test_loader_and_statistics(root):
    dataset = QM9(root)
    batch = next(iter(DataLoader(dataset, batch_size=5)))
    assert batch.y.shape == (5, 19)
    assert batch.pos.shape == (35, 3)
    assert dataset.mean(0) == pytest.approx(float(batch.y[:, 0].mean()))
    assert "5 molecules, 35 atoms" in dataset.describe()


def test_splits_share_one_processed_file(root, monkeypatch):
    everything = QM9(root)
    monkeypatch.setattr(module, "read_wheel", lambda wheel: pytest.fail("processed twice"))
    parts = {split: QM9(root, split) for split in ("train", "val", "test")}
    ids = {split: [int(m.idx) + 1 for m in part] for split, part in parts.items()}
    assert ids == {"train": [1, 2, 3], "val": [39], "test": [16]}
    assert parts["train"].mean(0) != everything.mean(0)
    assert parts["train"].mean(0) == pytest.approx((0 + 1.6256 + 1.8511) / 3, rel=1e-6)


def test_unknown_split_before_any_work(tmp_path):
    with pytest.raises(ValueError, match="got 'valid'"):
        QM9(tmp_path, "valid")
    assert not any(tmp_path.iterdir())


def test_filter_and_transforms(root):
    def only_y(data):
        data.y = data.y[:, :1]
        return data

    dataset = QM9(
        root,
        transform=lambda data: data.smiles,
        pre_transform=only_y,
        pre_filter=lambda data: data.num_nodes < 10,
    )
    assert list(dataset) == ["C", "N", "O", "C1CC1"]
    assert dataset.y.shape == (4, 1)


def test_filter_that_drops_everything(root):
    with pytest.raises(ValueError, match="pre_filter dropped every molecule"):
        QM9(root, pre_filter=lambda data: False)
    assert not any((root / "processed").glob("*.pt"))


def test_damaged_wheel(root):
    wheel = root / "raw" / WHEEL
    wheel.write_bytes(wheel.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"is not an intact wheel of qm9pack==1.0.3"):
        QM9(root)
    assert not any((root / "processed").glob("*.pt"))


def test_damaged_table(tmp_path):
    write_wheel(tmp_path / "raw", [ROWS[0].replace("'H','H',", "'H',"), *ROWS[1:]])
    with pytest.raises(ValueError, match=r"35 atoms announced, but \d+ elements and 35 positions"):
        QM9(tmp_path)


def test_download_is_one_pip_command(tmp_path, monkeypatch):
    commands = []

    def pip(command, **kwargs):
        commands.append(command)
        (tmp_path / "raw").rmdir()
        write_wheel(tmp_path / "raw")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    assert len(QM9(tmp_path)) == len(QM9(tmp_path)) == 5
    [command] = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "qm9pack==1.0.3", str(tmp_path / "raw")} <= set(command)


def test_download_fails(tmp_path, monkeypatch):
    def pip(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no matching distribution")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(RuntimeError) as error:
        QM9(tmp_path)
    message = str(error.value)
    assert "ERROR: no matching distribution" in message
    assert "pip download --no-deps --only-binary=:all: qm9pack==1.0.3" in message
    assert "qm9pack-1.0.3-*.whl" in message
    assert str(tmp_path / "raw") in message
