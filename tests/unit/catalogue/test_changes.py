"""A file of changes is stored as PUT /catalogue stores a batch, whatever its length."""

import gzip
import json
from pathlib import Path

import pytest

from catalogue.__main__ import main
from catalogue.changes import import_changes, is_changes
from catalogue.rows import FeedUnreadable
from functions.platform.catalogue_files import parsed_key
from functions.platform.contract import CATALOGUE_BATCH_LINES_MAX, CATALOGUE_LINE_MAX_BYTES
from testing.fakes import FakeS3


def written(folder: Path, content: bytes) -> Path:
    path = folder / "changes.jsonl"
    path.write_bytes(content)
    return path


def test_changes_are_recognized_by_their_first_character(tmp_path: Path) -> None:
    for content in (b'\n {"item_id": "a"}', b"\xef\xbb\xbf{", gzip.compress(b"{}")):
        assert is_changes(written(tmp_path, content))
    for content in (b"id\ttitle\n", b"<rss>", b""):
        assert not is_changes(written(tmp_path, content))


def test_a_long_file_is_several_batches_and_its_refused_lines_have_their_own_numbers(tmp_path: Path) -> None:
    s3 = FakeS3()
    lines = [
        json.dumps({"item_id": f"i{number}", "price": number})
        for number in range(CATALOGUE_BATCH_LINES_MAX + 1)
    ]
    path = written(tmp_path, "\n".join([*lines, '{"item_id": "x"}']).encode())
    said, refused = import_changes(path, "demo", s3, "events")
    assert refused == 1
    assert said == [
        f"{path}: 10,001 changes of 10,001 products, 1 lines refused",
        "  line 10002: field_missing: the line changes nothing: state a field, or delete",
        "recommendations follow within 5 minutes",
    ]
    files = [parsed_key(key) for _, key in s3.objects]
    assert sorted(file.lines for file in files if file and file.is_changes) == [1, CATALOGUE_BATCH_LINES_MAX]


def test_a_line_without_an_end_is_refused_with_its_number(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"item_id": "a", "price": 1}\n{' + b" " * CATALOGUE_LINE_MAX_BYTES)
    with pytest.raises(FeedUnreadable, match=r"line 2: 65,537 bytes"):
        import_changes(path, "demo", None, "")


def test_a_refused_line_gives_one_as_exit_status_so_that_a_job_notices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, b'{"item_id": "a", "price": 1}\n' + b'{"item_id": "b", "prise": 1}\n' * 101)
    assert main([str(path), "--shop", "demo", "--dry-run"]) == 1
    printed = capsys.readouterr()
    assert "  line 101: field_unknown: 'prise' is no field of a product" in printed.out
    assert "  ... and 1 more" in printed.out
    assert "101 lines changed nothing. Correct them, and import them again." in printed.err


def test_a_dry_run_reads_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, b'{"item_id": "a", "price": 1}\n')
    assert main([str(path), "--shop", "demo", "--dry-run"]) == 0
    assert "1 changes of 1 products, 0 lines refused\ndry run" in capsys.readouterr().out
