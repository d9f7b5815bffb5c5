from functions.load import load
from functions.platform.settings import WarehouseSettings
from testing.warehouse_fakes import FakeConnection

SETTINGS = WarehouseSettings("local", "events", "models", "secret", "demo")
LOADED = ("s3://events/raw/a.gz", "LOADED", 10, 10, 1, 0, None, None, None, None)
FAILED = ("s3://events/raw/b.gz", "LOAD_FAILED", 0, 0, 1, 1, "Error parsing JSON", 3, None, None)


def test_a_corrupt_file_is_reported_beside_the_loaded_ones() -> None:
    result = load.load({"run_id": "r1"}, SETTINGS, FakeConnection(("copy into", [LOADED, FAILED])))
    assert result == {
        "run_id": "r1",
        "files_loaded": 1,
        "rows_loaded": 10,
        "files_skipped": 0,
        "files_failed": [{"file": "s3://events/raw/b.gz", "error": "Error parsing JSON"}],
    }


def test_every_file_is_written_to_the_load_log_with_its_run() -> None:
    connection = FakeConnection(("copy into", [LOADED, FAILED]))
    load.load({"run_id": "r1"}, SETTINGS, connection)
    assert connection.inserted == [
        ("r1", "s3://events/raw/a.gz", "LOADED", 10, 10, None),
        ("r1", "s3://events/raw/b.gz", "LOAD_FAILED", 0, 0, "Error parsing JSON"),
    ]


def test_without_new_files_there_is_no_error_and_no_log() -> None:
    connection = FakeConnection(("copy into", [("Copy executed with 0 files processed.",)]))
    result = load.load({"run_id": "r1"}, SETTINGS, connection)
    assert (result["files_loaded"], result["rows_loaded"], result["files_failed"]) == (0, 0, [])
    assert connection.inserted == []


def test_only_files_below_raw_are_read_and_bad_files_are_skipped_as_a_whole() -> None:
    connection = FakeConnection(("copy into", [LOADED]))
    load.load({"run_id": "r1"}, SETTINGS, connection)
    statement = connection.statements[0][0]
    assert "from @RAW.EVENT_FILES)" in statement
    assert statement.endswith("on_error = skip_file")


def test_a_thousand_corrupt_files_fit_between_two_steps() -> None:
    result = load.load({"run_id": "r1"}, SETTINGS, FakeConnection(("copy into", [FAILED] * 1000)))
    assert len(result["files_failed"]) == 50
