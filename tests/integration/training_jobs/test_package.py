"""The archive for SageMaker: the same bytes for the same code, and everything that its entry points import."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.unit.training_jobs.conftest import Trained
from training_jobs import package


def python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Away from this repository, with nothing but `paths` beside the installed packages."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths[0],
        env={"PYTHONPATH": os.pathsep.join(map(str, paths)), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("shipped")
    with tarfile.open(fileobj=io.BytesIO(package.build_source_archive()[0])) as tar:
        tar.extractall(target, filter="data")
    return target


def test_every_file_of_the_package_is_shipped(shipped: Path) -> None:
    source = Path(package.__file__).parent
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    wanted = {path for path in files if not {"__pycache__", "serving_image"} & set(path.parts)}
    there = {path.relative_to(shipped / "training_jobs") for path in (shipped / "training_jobs").rglob("*")}
    assert wanted - there == set()


def test_the_same_code_gives_the_same_bytes_whenever_and_whoever_packs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, digest = package.build_source_archive()
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    again, same = package.build_source_archive()
    assert again == first
    assert same == digest == hashlib.sha256(first).hexdigest()


def test_changed_code_gives_another_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    digest = package.build_source_archive()[1]
    copied = tmp_path / "training_jobs"
    for path in package._package_files():
        target = copied / path.relative_to(package._PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(package, "_PACKAGE", copied)
    assert package.build_source_archive()[1] == digest
    (copied / "gate" / "thresholds.json").write_text("{}")
    assert package.build_source_archive()[1] != digest


def test_entry_scripts_lie_at_the_root_and_find_all_they_import(shipped: Path) -> None:
    assert {"train.py", "evaluate.py", "batch.py", "training_jobs"} == {
        path.name for path in shipped.iterdir()
    }
    for script in ("train.py", "evaluate.py"):
        ran = subprocess.run(
            [sys.executable, str(shipped / script), "--help"],
            cwd="/",
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "--interactions" in ran.stdout
    found = python("import training_jobs.evaluate as e; print(e.__file__, e.THRESHOLDS.exists())", shipped)
    assert found.stdout.split() == [str(shipped / "training_jobs" / "evaluate.py"), "True"]


def test_the_endpoint_s_code_answers_without_torch_and_without_this_repository(trained: Trained) -> None:
    code = trained.model_dir / "code"
    session = json.loads((trained.model_dir / "golden.json").read_text())[0]
    ran = python(
        "import sys, json\n"
        "sys.modules.update({name: None for name in ('torch', 'pyarrow', 'pandas')})\n"
        "from training_jobs import server\n"
        "from training_jobs.serving import inference\n"
        f"model = inference.model_fn({str(trained.model_dir)!r})\n"
        f"question = inference.input_fn({json.dumps(session)!r}, 'application/json')\n"
        "print(inference.output_fn(inference.predict_fn(question, model))[0])\n"
        "print(sys.modules['training_jobs'].__file__, file=sys.stderr)",
        code,
    )
    assert ran.returncode == 0, ran.stderr
    assert [item["item_id"] for item in json.loads(ran.stdout)["items"]] == session["expected"]
    assert ran.stderr.strip() == str(code / "training_jobs" / "__init__.py")


@pytest.mark.parametrize(
    ("room", "may_import"),
    [
        ("serving", {"serving"}),
        ("snapshot", {"serving", "snapshot"}),
        ("gate", {"serving", "snapshot", "gate"}),
        ("training", {"serving", "snapshot", "gate", "training"}),
    ],
)
def test_a_room_imports_only_the_rooms_below_it(room: str, may_import: set[str]) -> None:
    files = list((package._PACKAGE / room).rglob("*.py"))
    found = {
        name
        for file in files
        for name in re.findall(r"^\s*(?:from|import) training_jobs\.(\w+)", file.read_text(), re.MULTILINE)
    }
    assert found <= may_import
    assert len(files) > 2


def test_the_archive_carries_the_folder_serving_and_its_entry_point(trained: Trained) -> None:
    carried = trained.model_dir / "code" / "training_jobs"
    # Other tests run the carried code, which leaves bytecode beside it.
    files = [path for path in carried.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = {path.relative_to(carried).as_posix() for path in files}
    shipped = {path.relative_to(package._PACKAGE).as_posix() for path in package._package_files()}
    folder = {name for name in shipped if name.startswith("serving/")}
    assert names == {"__init__.py", "server.py", *folder}
    assert {"serving/kernels/native/kernels.h", "serving/kernels/native/scan.c"} <= folder


def test_compiled_code_is_behind_the_kernels_and_the_mathematics_do_not_need_them() -> None:
    sources = {
        path.relative_to(package._PACKAGE).as_posix(): path.read_text()
        for path in package._PACKAGE.rglob("*.py")
    }
    loading = {name for name, text in sources.items() if re.search(r"\bctypes\b", text)}
    assert loading == {"serving/kernels/compiled.py", "serving/kernels/header.py"}
    for name in ("blend", "encoder_numpy", "knn", "ranker", "scan"):
        assert "training_jobs.serving.kernels" not in sources[f"serving/{name}.py"]
