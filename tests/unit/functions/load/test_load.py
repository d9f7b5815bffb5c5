from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from functions.load import load
from functions.load.load import DELIVERY_DELAY, LISTED_AT_ONCE, SWEEP_EVERY, days_to_list
from functions.platform.settings import WarehouseSettings
from testing.warehouse_fakes import FakeConnection

SETTINGS = WarehouseSettings("local", "events", "models", "secret", "demo", 60)
LOADED = ("s3://events/raw/a.gz", "LOADED", 10, 10, 1, 0, None, None, None, None)
FAILED = ("s3://events/raw/b.gz", "LOAD_FAILED", 0, 0, 1, 1, "Error parsing JSON", 3, None, None)
SWEPT = ("r1", "", "SWEPT", 0, 0, None)
START = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)


def connection(
    *copied: tuple[object, ...],
    catalogue: tuple[tuple[object, ...], ...] = (("none",),),
    files: int = 0,
    last: tuple[object, object] = (None, None),
) -> FakeConnection:
    return FakeConnection(
        ("copy into RAW.CATALOGUE", list(catalogue)),
        ("copy into", list(copied)),
        ("count(*)", [(files,)]),
        ("max(LOADED_AT)", [last]),
    )


def copies(made: FakeConnection) -> list[str]:
    return [statement for statement, _ in made.statements if statement.startswith("copy into RAW.EVENTS")]


def test_a_corrupt_file_is_reported_beside_the_loaded_ones() -> None:
    result = load.load({"run_id": "r1"}, SETTINGS, connection(LOADED, FAILED))
    assert result == {
        "run_id": "r1",
        "files_loaded": 1,
        "rows_loaded": 10,
        "catalogue_rows_loaded": 0,
        "files_skipped": 0,
        "files_failed": [{"file": "s3://events/raw/b.gz", "error": "Error parsing JSON"}],
    }


def test_every_file_is_written_to_the_load_log_with_its_run() -> None:
    made = connection(LOADED, FAILED)
    load.load({"run_id": "r1"}, SETTINGS, made)
    assert made.inserted == [
        SWEPT,
        ("r1", "s3://events/raw/a.gz", "LOADED", 10, 10, None),
        ("r1", "s3://events/raw/b.gz", "LOAD_FAILED", 0, 0, "Error parsing JSON"),
    ]


def test_without_new_files_there_is_no_error_and_the_log_shows_only_the_sweep() -> None:
    made = connection(("Copy executed with 0 files processed.",))
    result = load.load({"run_id": "r1"}, SETTINGS, made)
    assert (result["files_loaded"], result["rows_loaded"], result["files_failed"]) == (0, 0, [])
    assert made.inserted == [SWEPT]


def test_only_files_below_raw_are_read_and_bad_files_are_skipped_as_a_whole() -> None:
    made = connection(LOADED)
    load.load({"run_id": "r1"}, SETTINGS, made)
    (statement,) = copies(made)
    assert "from @RAW.EVENT_FILES)" in statement
    assert statement.endswith("on_error = skip_file")


def test_a_thousand_corrupt_files_fit_between_two_steps() -> None:
    result = load.load({"run_id": "r1"}, SETTINGS, connection(*[FAILED] * 1000))
    assert len(result["files_failed"]) == 50


def test_of_a_large_lake_only_the_recent_days_are_listed() -> None:
    now = datetime.now(UTC)
    last = (now - timedelta(days=1)).replace(tzinfo=None)
    made = connection(("none",), files=LISTED_AT_ONCE, last=(last, last))
    load.load({"run_id": "r1"}, SETTINGS, made)
    assert f"from @RAW.EVENT_FILES/{now:%Y/%m/%d}/)" in copies(made)[-1]
    assert 3 <= len(copies(made)) <= 4
    assert made.inserted == []


def test_a_run_can_be_asked_to_list_all_files() -> None:
    last = datetime.now(UTC).replace(tzinfo=None)
    made = connection(("none",), files=LISTED_AT_ONCE, last=(last, last))
    load.load({"run_id": "r1", "full": True}, SETTINGS, made)
    assert "from @RAW.EVENT_FILES)" in copies(made)[0]
    assert made.inserted == [SWEPT]


def test_an_arrived_file_is_loaded_by_its_name() -> None:
    made = connection(LOADED, files=LISTED_AT_ONCE)
    load.load({"run_id": "arrival-1", "key": "raw/2026/11/29/05/events-1.gz"}, SETTINGS, made)
    (statement,) = copies(made)
    assert "files = ('2026/11/29/05/events-1.gz')" in statement


def test_a_key_that_could_end_the_statement_is_not_part_of_it() -> None:
    made = connection(("none",))
    load.load({"run_id": "arrival-1", "key": "raw/x') force = true --"}, SETTINGS, made)
    assert "force" not in "".join(copies(made))


def test_catalogue_feeds_are_loaded_beside_the_events_and_a_bad_one_is_reported() -> None:
    feed = ("s3://events/catalogue/demo/a.gz", "LOADED", 7, 7, 1, 0, None, None, None, None)
    made = connection(LOADED, catalogue=(feed, FAILED))
    result = load.load({"run_id": "r1"}, SETTINGS, made)
    assert (result["rows_loaded"], result["catalogue_rows_loaded"]) == (10, 7)
    assert [failed["file"] for failed in result["files_failed"]] == [FAILED[0]]
    assert ("r1", "s3://events/catalogue/demo/a.gz", "LOADED", 7, 7, None) in made.inserted


hours = st.integers(0, 24 * 30)


@given(
    nights=st.lists(st.integers(1, 24 * 9), min_size=4, max_size=30),
    files=st.lists(st.tuples(hours, st.integers(0, 24 * 20)), min_size=1, max_size=20),
    known_files=st.sampled_from([0, LISTED_AT_ONCE]),
)
def test_every_file_is_loaded_however_late_it_comes(
    nights: list[int], files: list[tuple[int, int]], known_files: int
) -> None:
    """A file has the hour of its prefix, and the delay with which it appears on S3."""
    waiting = {
        (START + timedelta(hours=hour), START + timedelta(hours=hour + delay)) for hour, delay in files
    }
    now = START
    last_load = last_sweep = None
    # Runs go on after the last file until a week has passed.
    for hours_later in [*nights, *[24] * 70]:
        now += timedelta(hours=hours_later)
        days = days_to_list(now, last_load, last_sweep, known_files)
        present = {file for file in waiting if file[1] <= now}
        listed = {file for file in present if days is None or file[0].date() in days}
        waiting -= listed
        if days is None:
            last_sweep = now
        last_load = now
        for prefix, appeared in present - listed:
            assert appeared - prefix > DELIVERY_DELAY, "a file of the last day was not listed"
            assert last_sweep is not None
            assert appeared > last_sweep, "a sweep passed a file over"
            assert now - last_sweep < SWEEP_EVERY
    assert not waiting
