"""The Python SDK can be built and used from its wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import contracts


def test_the_wheel_has_the_types_and_one_dependency_and_can_be_imported(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(
        contracts.REPOSITORY / "clients" / "python",
        source,
        ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "build"),
    )
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--disable-pip-version-check", "-w", tmp_path, source], check=True, timeout=120)
    (wheel,) = tmp_path.glob("tugboat_events-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    assert "tugboat_events/py.typed" in names
    assert [line for line in text.splitlines() if line.startswith("Requires-")] == [
        "Requires-Python: >=3.9",
        "Requires-Dist: urllib3<3,>=1.26",
    ]
    script = "import tugboat_events as t; print(t.__version__, t.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    version, file = done.stdout.split()
    assert wheel.name.split("-")[1] == version
    assert str(wheel) in file
