"""The device of a training job: no GPU that is paid for stays unused in silence."""

from pathlib import Path

import pytest
import torch

from tests.unit.training_jobs import shop
from training_jobs import train
from training_jobs.training.device import DeviceError, choose_device


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev with the file of an NVIDIA GPU, on a machine of which nothing else is known."""
    for variable in ("SM_CURRENT_INSTANCE_TYPE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    return tmp_path


def see_gpu(monkeypatch: pytest.MonkeyPatch, seen: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)


def test_a_gpu_that_torch_sees_is_used(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpu(monkeypatch, True)
    assert choose_device(dev).type == "cuda"


def test_a_machine_without_a_gpu_trains_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpu(monkeypatch, False)
    monkeypatch.delenv("SM_CURRENT_INSTANCE_TYPE", raising=False)
    assert choose_device(tmp_path).type == "cpu"


def test_a_gpu_that_torch_does_not_see_is_an_error_that_says_what_to_do(
    dev: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_gpu(monkeypatch, False)
    with pytest.raises(DeviceError, match=r"nvidia0\) has a GPU.*CUDA_VISIBLE_DEVICES=''"):
        choose_device(dev)


def test_a_gpu_that_is_hidden_on_purpose_is_none(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpu(monkeypatch, False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert choose_device(dev).type == "cpu"


@pytest.mark.parametrize("instance_type", ["ml.g5.xlarge", "ml.p3.2xlarge"])
def test_a_gpu_instance_is_known_by_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance_type: str
) -> None:
    see_gpu(monkeypatch, False)
    monkeypatch.setenv("SM_CURRENT_INSTANCE_TYPE", instance_type)
    with pytest.raises(DeviceError, match=rf"{instance_type} has a GPU.*training_instance_type"):
        choose_device(tmp_path)


def test_the_machine_behind_a_cpu_instance_does_not_count(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpu(monkeypatch, False)
    monkeypatch.setenv("SM_CURRENT_INSTANCE_TYPE", "ml.m5.xlarge")
    assert choose_device(dev).type == "cpu"


def test_a_job_without_its_gpu_fails_with_the_reason_before_it_reads_any_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    see_gpu(monkeypatch, False)
    monkeypatch.setenv("SM_CURRENT_INSTANCE_TYPE", "ml.g5.xlarge")
    failure = tmp_path / "failure"
    arguments = ["--interactions", str(tmp_path / "missing"), "--failure-file", str(failure)]
    assert train.main(arguments) == 1
    assert failure.read_text().startswith("ml.g5.xlarge has a GPU, but torch")
    assert "Traceback" not in failure.read_text()


def test_a_job_logs_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    see_gpu(monkeypatch, False)
    monkeypatch.setenv("SM_CURRENT_INSTANCE_TYPE", "ml.m5.xlarge")
    empty = shop.write(tmp_path / "empty", shop.interactions(1))
    train.main(["--interactions", str(empty), "--failure-file", str(tmp_path / "failure")])
    assert "stage=device device=cpu" in capsys.readouterr().out
