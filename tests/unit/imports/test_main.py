import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from imports import __main__ as command
from testing.fakes import FakeS3

CONTENT = (
    "event_time,event_name,item_id,client_id\n2026-03-01T10:00:00Z,view,a,c\n2026-03-01T10:00:00Z,nap,a,c\n"
)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    fake = FakeS3()

    class Sts:
        def get_caller_identity(self) -> dict[str, str]:
            return {"Account": "123456789012"}

    class Session:
        def __init__(self, **_: Any) -> None:
            pass

        def client(self, service: str, **_: Any) -> Any:
            return {"s3": fake, "sts": Sts()}[service]

    monkeypatch.setattr(command.boto3, "Session", Session)
    return fake


def run(tmp_path: Path, *more: str, content: str = CONTENT, shop: str = "demo") -> int:
    file = tmp_path / "history.csv"
    file.write_text(content)
    arguments = ["--file", str(file), "--shop", shop, "--stage", "local"]
    return command.main([*arguments, "--rejects", str(tmp_path / "rejects.jsonl"), *more])


def test_an_import_prints_the_account_and_the_next_command(
    tmp_path: Path, s3: FakeS3, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "3 lines read = 2 rows + 1 headers" in printed
    assert "2 rows = 1 events + 1 rejected" in printed
    assert "1 x event_name is unknown: 'nap'" in printed
    assert "make run STAGE=local ARGS=--full-refresh" in printed
    assert {bucket for bucket, _ in s3.objects} == {"tugboat-local-events-123456789012"}
    assert sorted(key.split("/")[0] for _, key in s3.objects) == ["raw", "rejected"]
    assert json.loads((tmp_path / "rejects.jsonl").read_text())["line"] == 3


def test_a_dry_run_reads_everything_and_stores_nothing(
    tmp_path: Path, s3: FakeS3, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--dry-run") == 0
    assert s3.objects == {}
    assert "Nothing was stored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "shop", "sentence"),
    [
        (CONTENT, "nobody", "has no shop 'nobody'"),
        ("a,b\n1,2\n", "demo", "a layout that is not known"),
        (
            CONTENT.replace(",view,", ",nap,"),
            "demo",
            "no row became an event, so nothing was imported. Read the reasons",
        ),
        (CONTENT.split("\n")[0] + "\n", "demo", "The files have no rows: export them again"),
        ("\n", "demo", "history.csv is empty. Export it again, or leave it out"),
        ("", "demo", "history.csv is empty. Export it again, or leave it out"),
    ],
)
def test_a_failure_says_what_to_do_and_gives_one(
    tmp_path: Path, s3: FakeS3, capsys: pytest.CaptureFixture[str], content: str, shop: str, sentence: str
) -> None:
    assert run(tmp_path, content=content, shop=shop) == 1
    assert sentence in capsys.readouterr().err


def test_a_directory_is_read_whatever_the_case_of_its_endings_and_the_rest_is_named(
    tmp_path: Path, s3: FakeS3, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "export"
    (folder / "older").mkdir(parents=True)
    (folder / "JAN.CSV").write_text(CONTENT)
    (folder / "feb.csv.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    (folder / "mar.csv").touch()
    assert run(tmp_path, "--dry-run", "--file", str(folder)) == 0
    printed = capsys.readouterr().out
    assert "3 lines read" in printed
    assert "not read, because they are empty: mar.csv\n" in printed
    assert "not read, because their names are not those of event files: feb.csv.zst, older/\n" in printed


def test_a_cut_gzip_file_stores_nothing_because_an_order_at_the_cut_would_lack_lines(
    tmp_path: Path, s3: FakeS3, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cut.csv.gz"
    rows = "".join(f"2026-03-01T10:00:{second:02d}Z,view,item-{second},c\n" for second in range(60))
    file.write_bytes(gzip.compress((CONTENT + rows).encode())[:-30])
    assert run(tmp_path, "--file", str(file)) == 1
    assert "cut.csv.gz ends early, so nothing is imported. Copy it here again" in capsys.readouterr().err
    assert s3.objects == {}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--file", ""], "name a file, a directory or a pattern: FILE=history.csv"),
        (
            ["--encoding", "latin99"],
            "--encoding latin99: unknown encoding: latin99. Use a name such as cp1252",
        ),
        (["--rejects", "/"], "Correct the path or the rights to it"),
    ],
)
def test_a_wrong_argument_is_named_with_the_next_step(
    tmp_path: Path, s3: FakeS3, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    assert run(tmp_path, *more) == 1
    assert sentence in capsys.readouterr().err


def test_a_failing_s3_names_the_command_to_repeat(
    tmp_path: Path, s3: FakeS3, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.down = True
    assert run(tmp_path) == 1
    assert "Run the same command again" in capsys.readouterr().err
