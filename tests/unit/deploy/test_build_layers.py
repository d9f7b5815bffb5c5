"""The layers: their pins, how they are built, and their sizes."""

import re
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy import build_layers, lock

REPOSITORY = Path(__file__).resolve().parents[3]
LAMBDA = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}


def pins(path: Path) -> dict[str, str]:
    return {name: pin.version for name, pin in lock.pins(path.read_text()).items()}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(roots: list[str]) -> set[str]:
    """Return the packages that these need on Lambda, extras included, by the metadata installed here."""
    done: set[tuple[str, str]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            if (canonical(requirement.name), extra) in done:
                continue
            done.add((canonical(requirement.name), extra))
            for text in metadata.requires(requirement.name) or []:
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({**LAMBDA, "extra": extra}):
                    waiting.append(inner)
    return {name for name, _ in done}


@pytest.mark.parametrize(
    ("name", "roots"),
    [("warehouse", ["dbt-core", "dbt-snowflake", "snowflake-connector-python"]), ("pandas", ["awswrangler"])],
)
def test_a_layer_with_the_function_s_own_zip_has_everything_it_imports(name: str, roots: list[str]) -> None:
    there = pins(REPOSITORY / "layers" / f"{name}.txt").keys() | pins(REPOSITORY / "requirements.txt").keys()
    assert needed(roots) - there == set()


@pytest.mark.parametrize("name", build_layers.NAMES)
def test_a_layer_repeats_nothing_of_the_function_s_own_zip(name: str) -> None:
    assert (
        pins(REPOSITORY / "layers" / f"{name}.txt").keys() & pins(REPOSITORY / "requirements.txt").keys()
        == set()
    )


@pytest.mark.parametrize("path", ["layers/warehouse.txt", "requirements.txt"])
def test_lambda_runs_the_versions_that_the_tests_run(path: str) -> None:
    locked = pins(REPOSITORY / "requirements.lock")
    assert {
        name: version for name, version in pins(REPOSITORY / path).items() if locked.get(name) != version
    } == {}


@pytest.mark.parametrize("name", build_layers.NAMES)
def test_no_layer_holds_torch(name: str) -> None:
    assert not [
        pin for pin in pins(REPOSITORY / "layers" / f"{name}.txt") if pin.startswith(("torch", "nvidia"))
    ]


def fake_pip(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> list[list[str]]:
    """Replace pip by one that puts these files into its target, and return its calls."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        target = Path(command[command.index("--target") + 1])
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(build_layers.subprocess, "run", run)
    return calls


def test_the_same_files_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, {"b/x.py": b"x", "a/y.py": b"y"})
    first, second = (build_layers.build("warehouse", tmp_path / place) for place in ("one", "two"))
    assert first.zip_file.read_bytes() == second.zip_file.read_bytes()


def test_an_unchanged_layer_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, {"a.py": b"a"})
    build_layers.build("warehouse", tmp_path)
    build_layers.build("warehouse", tmp_path)
    assert len(calls) == 1


def test_a_layer_leaves_out_what_no_function_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = [
        "p/tests/t.py",
        "p/q/__pycache__/m.pyc",
        "p.dist-info/RECORD",
        "bin/tool",
        "babel/locale-data/de.dat",
    ]
    kept = ["p/q/m.py", "p.dist-info/METADATA", "babel/locale-data/en.dat", "babel/locale-data/root.dat"]
    fake_pip(monkeypatch, dict.fromkeys([*dropped, *kept], b""))
    layer = build_layers.build("warehouse", tmp_path)
    with zipfile.ZipFile(layer.zip_file) as archive:
        assert sorted(archive.namelist()) == sorted(f"python/{name}" for name in kept)


def test_a_layer_over_lambda_s_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_layers, "UNZIPPED_MAX_BYTES", build_layers.FUNCTION_MAX_BYTES + 9)
    fake_pip(monkeypatch, {"a.py": b"0123456789"})
    with pytest.raises(build_layers.LayerError, match=r"drop packages \(deploy/lock\.py\)"):
        build_layers.build("warehouse", tmp_path)
    assert build_layers.built("warehouse", tmp_path) is None


def test_a_pin_that_moves_is_another_layer(tmp_path: Path) -> None:
    (tmp_path / "warehouse.txt").write_text("# why\nx==1\n")
    before = build_layers.digest("warehouse", tmp_path)
    (tmp_path / "warehouse.txt").write_text("# another comment\n\nx==1\n")
    assert build_layers.digest("warehouse", tmp_path) == before
    (tmp_path / "warehouse.txt").write_text("x==2\n")
    assert build_layers.digest("warehouse", tmp_path) != before
