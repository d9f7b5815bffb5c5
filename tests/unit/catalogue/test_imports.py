"""Import: one state is one file, every row is counted, and a feed that would empty the catalogue is refused."""

import gzip
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from catalogue.__main__ import main
from catalogue.imports import FeedRefused, Imported, import_feed
from catalogue.known_ids import compare, event_items
from functions.platform.catalogue_files import new_key
from testing.fakes import FakeS3
from testing.warehouse_fakes import FakeConnection
from tests.unit.catalogue.feeds import feed_of, written

GOOD = "id\ttitle\tprice\n1\tA\t5 EUR\n2\tB\t6 EUR\n"
ONE_BAD = GOOD + "3\t\t1 EUR\n"
KEY = "catalogue/demo/2026/11/28/1795847400000-"


def lines(s3: FakeS3, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(s3.objects["events", key]).splitlines()]


def imported(
    folder: Path, s3: FakeS3, text: str, hours_later: int = 0, share: float = 0.5, **more: bool
) -> Imported:
    feed = feed_of(written(folder, text))
    return import_feed(
        replace(feed, imported_at=feed.imported_at + timedelta(hours=hours_later)),
        share,
        s3,
        "events",
        **more,
    )


def test_products_are_lines_with_the_stamp_of_their_feed(tmp_path: Path) -> None:
    s3 = FakeS3()
    done = imported(tmp_path, s3, GOOD)
    assert done.key is not None
    assert done.key.startswith(KEY)
    stamp = {
        "feed_id": "1795847400000-feed",
        "imported_at_ms": 1_795_847_400_000,
        "complete": True,
        "format": "merchant-center",
    }
    assert lines(s3, done.key) == [
        {"shop_id": "demo", "item_id": "1", "title": "A", "price": 5.0, "currency": "EUR", "feed": stamp},
        {"shop_id": "demo", "item_id": "2", "title": "B", "price": 6.0, "currency": "EUR", "feed": stamp},
    ]


def test_the_same_products_again_write_nothing_in_whatever_order(tmp_path: Path) -> None:
    s3 = FakeS3()
    first = imported(tmp_path, s3, GOOD)
    header, *rows = GOOD.splitlines(keepends=True)
    again = imported(tmp_path, s3, header + "".join(reversed(rows)), hours_later=1)
    assert (first.is_new, again.is_new, again.key) == (True, False, first.key)
    assert len(s3.objects) == 1


def test_a_catalogue_that_returns_to_an_earlier_state_is_written_again(tmp_path: Path) -> None:
    s3 = FakeS3()
    imported(tmp_path, s3, GOOD)
    assert imported(tmp_path, s3, GOOD.replace("5 EUR", "4 EUR"), hours_later=1).is_new
    assert imported(tmp_path, s3, GOOD, hours_later=2).is_new
    assert len(s3.objects) == 3


def test_the_same_products_count_again_after_changes_of_the_back_end(tmp_path: Path) -> None:
    s3 = FakeS3()
    first = imported(tmp_path, s3, GOOD)
    assert first.key
    between = feed_of(written(tmp_path, GOOD)).imported_at + timedelta(minutes=5)
    s3.objects["events", new_key("demo", between, 1, "0" * 16, is_changes=True)] = b""
    assert imported(tmp_path, s3, GOOD, hours_later=1).is_new
    assert not imported(tmp_path, s3, GOOD, hours_later=2).is_new


def test_a_feed_that_lost_most_of_its_products_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    s3 = FakeS3()
    imported(tmp_path, s3, GOOD + "3\tC\t7 EUR\n")
    lost = "id\ttitle\n1\tA\n"
    with pytest.raises(FeedRefused, match=r"has 1 products, the state before has 3 .*--allow-removals"):
        imported(tmp_path, s3, lost, hours_later=1)
    assert len(s3.objects) == 1
    assert imported(tmp_path, s3, lost, hours_later=1, allow_removals=True).is_new


def test_rejected_rows_are_kept_with_their_reason(tmp_path: Path) -> None:
    s3 = FakeS3()
    done = imported(tmp_path, s3, ONE_BAD)
    assert done.rejects_key is not None
    [line] = lines(s3, done.rejects_key)
    assert (line["line"], line["reason"]) == (4, "title_missing")
    assert json.loads(line["row"]) == {"id": "3", "title": "", "price": "1 EUR"}


def test_too_many_rejects_or_no_product_at_all_are_refused_because_products_would_count_as_removed(
    tmp_path: Path,
) -> None:
    s3 = FakeS3()
    with pytest.raises(FeedRefused, match=r"(?s)1 of 3 rows .* 10% are allowed.*line 4: title_missing"):
        imported(tmp_path, s3, ONE_BAD, share=0.1)
    with pytest.raises(FeedRefused, match="no valid product in 0 rows"):
        imported(tmp_path, s3, "id\ttitle\n")
    assert s3.objects == {}


def test_a_dry_run_counts_and_needs_no_login(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, ONE_BAD)
    assert main([str(path), "--shop", "demo", "--dry-run", "--max-rejects", "50"]) == 0
    printed = capsys.readouterr().out
    assert "3 rows = 2 products + 0 merged + 1 rejected" in printed
    assert "1 x title_missing" in printed
    assert "dry run: nothing was written" in printed


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (None, [], "cannot be read"),
        (GOOD, ["--item-id", "handle"], "choose --item-id id or group"),
        (GOOD, ["--currency", "euro"], "no ISO 4217 code"),
        ("<rss><item>", [], "line 1, column 12"),
        (b"\x1f\x8b\x08damaged", [], "damaged gzip"),
        ("", [], "is empty: export the feed again"),
        (b"PK\x03\x04" + bytes(60), [], "an Excel workbook: unpack it, or save the sheet as CSV"),
        (
            "id;title\n1;Boot\n",
            [],
            "the header of no known feed: 'id;title'. Needed are, separated by commas or tabs: id",
        ),
        (GOOD, ["--encoding", "latin99"], "--encoding latin99: unknown encoding"),
        (GOOD, ["--shop-url", "shop.example"], "is no address: write https://shop.example"),
        (GOOD, ["--shop", "dmeo"], "stage local has no shop 'dmeo': use SHOP= one of demo, "),
        (GOOD, ["--shop", ""], "stage local has no shop ''"),
        (GOOD, ["--stage", "prd"], "stage 'prd' is not in"),
        (
            "id\ttitle\tlink\n1\tBoot\tshop.example\n",
            [],
            "url of '1' cannot be 'shop.example': docs/catalogue.md has",
        ),
    ],
)
def test_the_command_names_what_is_wrong_without_a_traceback(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str | bytes | None,
    more: list[str],
    message: str,
) -> None:
    path = tmp_path / "missing" if text is None else written(tmp_path, text)
    assert main([str(path), "--shop", "demo", "--dry-run", *more]) == 1
    assert message in capsys.readouterr().err


def test_without_a_feed_the_command_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["", "--shop", "demo", "--dry-run"]) == 1
    assert "name the feed: FILE=products.xml" in capsys.readouterr().err


def test_a_gzipped_feed_is_read_like_a_plain_one(tmp_path: Path) -> None:
    done = import_feed(feed_of(written(tmp_path, gzip.compress(GOOD.encode()))), 0.1, None, "")
    assert done.counts.products == 2


def test_the_choice_that_covers_most_events_comes_first() -> None:
    connection = FakeConnection(
        ("DAILY_KPIS", [(1_795_847_400_000,)]), ("INT_ITEM_EVENTS", [("a", 8), ("b", 1), ("c", 1)])
    )
    items = event_items(connection, "demo")
    best, other = compare({"sku": {"b"}, "handle": {"a", "x"}}, items)
    assert (best.choice, best.known_items, best.known_events, best.share) == ("handle", 1, 8, 1 / 3)
    assert (other.choice, other.known_events, other.events) == ("sku", 1, 10)
