"""The lock and the lists that follow it: up to date, and every way out of date is found without a network."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import lock

FILES = (lock.LOCK, lock.CONSTRAINTS, *lock.PROJECTS, *(one.path for one in lock.LISTS))
WAREHOUSE = "layers/warehouse.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Copy every file that takes part."""
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(lock.ROOT / file, tmp_path / file)
    return tmp_path


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text)


def test_the_lock_fits_the_projects_and_the_lists_follow_it() -> None:
    assert lock.problems() == []


@pytest.mark.parametrize("file", [lock.LOCK, lock.CONSTRAINTS, *(one.path for one in lock.LISTS)])
def test_every_line_of_a_list_is_read(file: str) -> None:
    text = (lock.ROOT / file).read_text()
    assert len(lock.pins(text)) == len(re.findall(r"^[^ #\n]", text, re.MULTILINE)) > 0


@pytest.mark.parametrize("file", [lock.LOCK, *(one.path for one in lock.LISTS)])
def test_every_package_has_hashes_and_no_line_names_an_index(file: str) -> None:
    text = (lock.ROOT / file).read_text()
    assert all(pin.hashes for pin in lock.pins(text).values())
    assert "://" not in text
    assert "index" not in text


def test_torch_is_pinned_without_a_hash_and_nothing_of_cuda_is_locked() -> None:
    names = lock.pins((lock.ROOT / lock.LOCK).read_text()).keys()
    assert "torch==2.13.0" in (lock.ROOT / lock.CONSTRAINTS).read_text().splitlines()
    assert [name for name in names if name.startswith(("torch", "nvidia", "cuda", "triton"))] == []
    assert "sympy" in names, "torch's own dependencies are locked"


EDITS: list[tuple[str, str, str, str]] = [
    ("pyproject.toml", r'^    "chalice",', '    "chalice>=99",', "asks for chalice>=99"),
    ("pyproject.toml", r'^    "chalice",', '    "chalice",\n    "unheard-of",', "has no such package"),
    ("local/pyproject.toml", r'"moto\[', '"unheard-of", "moto[', "asks for unheard-of"),
    ("pyproject.toml", r'^    "cfn-lint",\n', "", "holds cfn-lint for a requirement that no"),
    ("local/pyproject.toml", r'^    "sqlglot[^"]*",\n', "", "holds sqlglot for a requirement that no"),
    (lock.LOCK, r"^six==1\.17\.0 \\\n(    --hash.*\n)+", "six==1.17.0\n", "has no hash of six"),
    (lock.CONSTRAINTS, r"^six==1\.17\.0", "six==1.16.0", "constraints.txt differs"),
    ("requirements.txt", r"^six==1\.17\.0", "six==1.0", "requirements.txt pins six==1.0"),
    (WAREHOUSE, r"--hash=sha256:.{4}", "--hash=sha256:0000", "or other hashes"),
    (WAREHOUSE, r"^dbt-core==", "unheard-of==", "lacks dbt-core"),
    (WAREHOUSE, r"^(agate==)", r"six==1.17.0\n\1", "repeats six of requirements.txt"),
    (WAREHOUSE, r"^# The layer", "# A layer", "is not as `make lock` writes it"),
    ("layers/pandas.txt", r"^# The layer", "# A layer", "is not as `make lock` writes it"),
]


@pytest.mark.parametrize(("file", "pattern", "replacement", "sentence"), EDITS)
def test_an_edit_by_hand_is_found(
    root: Path, file: str, pattern: str, replacement: str, sentence: str
) -> None:
    edit(root / file, pattern, replacement)
    assert sentence in "\n".join(lock.problems(root))


def test_an_older_version_is_allowed_only_where_the_list_says_so(root: Path) -> None:
    locked = lock.pins((root / lock.LOCK).read_text())
    older = {
        name
        for name, pin in lock.pins((root / "layers/pandas.txt").read_text()).items()
        if pin.version != locked[name].version
    }
    assert older == {"numpy", "pandas", "pyarrow"}


def keeps_what_is_there(arguments: list[str], root: Path, present: Path, requirements: str = "") -> str:
    """Resolve as uv does where nothing moved: to the present list."""
    return re.sub(r"\A(# .*\n)+", "", present.read_text())


def test_writing_again_changes_nothing_and_repairs_an_edit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_uv", keeps_what_is_there)
    before = {file: (root / file).read_bytes() for file in FILES}
    edit(root / WAREHOUSE, r"--hash=sha256:.{4}", "--hash=sha256:0000")
    edit(root / lock.CONSTRAINTS, r"^six==.*", "six==1.0")
    lock.write(root)
    assert {file: (root / file).read_bytes() for file in FILES} == before


def failing_uv(calls: list[list[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 1, "", "No solution found")

    return run


def test_a_failed_resolution_names_its_list_and_leaves_it_as_it_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(lock.subprocess, "run", failing_uv(calls))
    before = (root / lock.LOCK).read_bytes()
    with pytest.raises(
        lock.LockError, match=r"(?s)could not resolve requirements\.lock.*No solution found.*make lock"
    ):
        lock.write(root, ["boto3"])
    assert (root / lock.LOCK).read_bytes() == before
    assert "--upgrade-package=boto3" in calls[0]
