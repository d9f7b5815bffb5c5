"""The compiler of the tests: compiles once per source, header and flag, and keeps no failure."""

import os
import subprocess
from pathlib import Path

import pytest

WRAPPER = Path(__file__).resolve().parents[1] / "compiler" / "cc"
COMPILER = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
[ -e "$(dirname "$0")/broken" ] && exit 1
while [ "$1" != -o ]; do shift; done
cp "$(dirname "$0")/calls" "$2"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy the wrapper into a tree of its own, beside a compiler that records its calls."""
    for name, text in {"bin/cc": COMPILER, "tests/compiler/cc": WRAPPER.read_text()}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "a.c").write_text("int a;")
    (tmp_path / "a.h").write_text("int b;")
    return tmp_path


def compile_here(tree: Path, *flags: str) -> int:
    path = os.pathsep.join([str(tree / "tests/compiler"), str(tree / "bin"), os.environ["PATH"]])
    command = ["cc", *flags, "-o", str(tree / "made.so"), str(tree / "a.c")]
    return subprocess.run(command, env={"PATH": path}, check=False).returncode


def calls(tree: Path) -> int:
    return len((tree / "bin/calls").read_text().splitlines())


def test_the_same_source_is_compiled_once(tree: Path) -> None:
    assert compile_here(tree, "-O3") == 0
    made = (tree / "made.so").read_bytes()
    (tree / "made.so").unlink()
    assert compile_here(tree, "-O3") == 0
    assert (tree / "made.so").read_bytes() == made
    assert calls(tree) == 1


def test_another_flag_source_or_header_is_compiled_again(tree: Path) -> None:
    for expected, change in enumerate((None, "flag", "a.c", "a.h"), 1):
        if change in ("a.c", "a.h"):
            (tree / change).write_text("int changed;")
        assert compile_here(tree, "-O3" if change is None else "-O2") == 0
        assert calls(tree) == expected


def test_a_failure_is_not_kept(tree: Path) -> None:
    (tree / "bin/broken").touch()
    assert compile_here(tree) == 1
    (tree / "bin/broken").unlink()
    assert compile_here(tree) == 0
    assert calls(tree) == 2
