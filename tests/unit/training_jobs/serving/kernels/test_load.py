"""The library is optional: numpy answers where it is missing, broken or of another interface."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.unit.training_jobs.kernels import compiled
from training_jobs.serving import scan
from training_jobs.serving.kernels import compile as compile_kernels
from training_jobs.serving.kernels import header
from training_jobs.serving.kernels.compile import write_library
from training_jobs.serving.kernels.compiled import FILE_NAME, address, bound
from training_jobs.serving.kernels.load import load_kernels
from training_jobs.serving.kernels.reference import REFERENCE


@pytest.mark.parametrize(
    "wrong",
    [np.zeros(4), np.zeros(3, np.float32), np.zeros((4, 1), np.float32), np.zeros(8, np.float32)[::2]],
)
def test_numbers_of_another_kind_or_count_than_the_kernel_reads_are_refused(wrong: np.ndarray) -> None:
    assert address(np.zeros(4, np.float32), np.float32, 4)
    with pytest.raises(ValueError, match="belong"):
        address(wrong, np.float32, 4)


def test_a_number_that_the_header_does_not_declare_is_refused() -> None:
    with pytest.raises(ValueError, match="lenght in Encoder"):
        bound("Encoder", {}, lenght=3)


def test_numpy_answers_where_there_is_no_library_or_one_for_another_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_kernels(tmp_path, 32) is REFERENCE
    assert not capsys.readouterr().err
    (tmp_path / FILE_NAME).write_bytes(b"made for another machine")
    assert load_kernels(tmp_path, 32) is REFERENCE
    assert "does not load" in json.loads(capsys.readouterr().err)["reason"]


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(header, "TEXT", header.TEXT.replace("float margin", "double margin")), (scan, "BINS", 32)],
    ids=["another header", "another constant"],
)
def test_a_library_of_another_interface_is_refused_and_numpy_answers(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    module: ModuleType,
    name: str,
    value: object,
) -> None:
    compiled(16, tmp_path)
    assert load_kernels(tmp_path, 16).name == "compiled"
    assert load_kernels(tmp_path, 32) is REFERENCE
    assert "another dimension" in json.loads(capsys.readouterr().err)["reason"]
    monkeypatch.setattr(module, name, value)
    assert load_kernels(tmp_path, 16) is REFERENCE
    assert "another header" in json.loads(capsys.readouterr().err)["reason"]


def test_without_a_compiler_numpy_answers_and_the_reason_is_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training_jobs.serving.kernels.compile.shutil.which", lambda name: None)
    assert write_library(tmp_path, 17) is None
    assert not list(tmp_path.iterdir())
    assert "no C compiler" in json.loads(capsys.readouterr().err)["reason"]


@pytest.mark.parametrize(
    ("compiler", "says"),
    [("#!/bin/sh\necho 'what is this?' >&2; exit 1", "what is this?"), ("#!/bin/sh\nsleep 9", "timed out")],
)
def test_a_compiler_that_fails_costs_the_kernels_and_not_the_model(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    compiler: str,
    says: str,
) -> None:
    (tmp_path / "cc").write_text(compiler)
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(compile_kernels, "_COMPILE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(compile_kernels, "_compiled", compile_kernels._compiled.__wrapped__)
    assert write_library(tmp_path, 18) is None
    assert says in json.loads(capsys.readouterr().err)["reason"]
