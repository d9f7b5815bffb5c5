"""The structs that Python reads from the header are those that the compiler lays out."""

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.training_jobs.kernels import need_compiler
from training_jobs.serving.kernels.header import HEADER, NATIVE, parse


def python_layout() -> dict[str, int]:
    found = {}
    for name, struct in HEADER.structs.items():
        found[f"sizeof({name})"] = ctypes.sizeof(struct)
        for field, *_ in struct._fields_:
            found[f"offsetof({name}, {field})"] = getattr(struct, field).offset
            found[f"sizeof((({name} *)0)->{field})"] = getattr(struct, field).size
        for field, kind in HEADER.elements[name].items():
            found[f"sizeof(*(({name} *)0)->{field})"] = kind.itemsize
    return found


def test_sizes_and_offsets_are_those_of_the_compiler(tmp_path: Path) -> None:
    need_compiler()
    expected = python_layout()
    assert len(expected) > 150
    prints = "".join(f'printf("%zu\\n", {expression});\n' for expression in expected)
    (tmp_path / "layout.c").write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "kernels.h"\nint main(void) {{ {prints} }}\n'
    )
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = ["cc", f"-I{NATIVE}", "-o", str(tmp_path / "layout"), str(tmp_path / "layout.c")]
    subprocess.run(command, check=True, env=environment)
    ran = subprocess.run(
        [str(tmp_path / "layout")], check=True, env=environment, capture_output=True, text=True
    )
    assert dict(zip(expected, map(int, ran.stdout.split()), strict=True)) == expected


def test_every_pointer_to_numbers_has_the_type_of_its_numbers() -> None:
    made = parse("typedef struct { const int8_t *codes, *query; double *votes; float step; } One;")
    assert {name: str(kind) for name, kind in made.elements["One"].items()} == {
        "codes": "int8",
        "query": "int8",
        "votes": "float64",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("typedef struct { unsigned int count; } One;", "not understood at 'unsigned int count"),
        ("typedef struct { float values[4]; } One;", "not understood at 'float values"),
        ("typedef struct { size_t count; } One;", "not understood at 'size_t count"),
        (
            "typedef struct { float a; } One;\ntypedef struct { One one; } Two;",
            "struct inside a struct at one",
        ),
        ("#define BLOCK 64\n", "not understood at '#define BLOCK"),
        ("int one(void);", "not understood at 'int one"),
        ("void one(One *one);", "one before its struct One"),
    ],
)
def test_what_the_grammar_does_not_have_is_an_error(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(text)
