import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.datasets import FileRefused, open_dataset
from imports.ids import short_id
from imports.rejects import Rejects

OWN_HEADER = "event_time,event_name,item_id,client_id,price,category\n"
REES46_HEADER = (
    "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
)


def read(path: Path, rejects: Rejects | None = None, shop: str | None = None) -> list[dict[str, Any]]:
    return list(open_dataset(path, shop).read(rejects or Rejects()))


def test_serenade_trains_on_train_in_time_order_and_keeps_the_test_file_by_time(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("SessionId\tItemId\tTime\n2\t9\t1592337718.0\n1\t7\t1592337700.0\n")
    with gzip.open(tmp_path / "test.tsv.gz", "wt") as file:
        file.write("SessionId\tItemId\tTime\n5\tb\t1593536687.0\n5\ta\t1593536656.0\n")
    dataset = open_dataset(tmp_path)
    events = list(dataset.read(Rejects()))
    assert [(e["client_id"], e["items"][0]["item_id"], e["client_time_ms"]) for e in events] == [
        ("1", "7", 1592337700000),
        ("2", "9", 1592337718000),
    ]
    assert dataset.test == [["a", "b"]]
    assert dataset.published == {}
    assert dataset.shop_id == "serenade"


def test_rees46_keeps_carts_purchases_brands_and_prices(tmp_path: Path) -> None:
    file = tmp_path / "oct.csv"
    file.write_text(REES46_HEADER + "2019-10-01 00:00:01 UTC,cart,17,2,furniture.sofa,aqua,543.10,519,abc\n")
    (event,) = read(tmp_path)
    assert event["event_name"] == "add_to_cart"
    assert event["items"] == [
        {"item_id": "17", "item_category": "furniture/sofa", "item_brand": "aqua", "price": 543.1}
    ]
    assert (event["client_id"], event["session_id"], event["client_time_ms"]) == ("519", "abc", 1569888001000)


def test_a_last_line_that_is_cut_off_is_reported_with_its_number_and_the_rest_is_read(tmp_path: Path) -> None:
    file = tmp_path / "oct.csv"
    file.write_text(
        REES46_HEADER + "2019-10-01 00:00:00 UTC,view,1,2,,b,1.0,3,s\n2019-10-01 00:00:00 UTC,view,1,2"
    )
    errors = tmp_path / "errors.jsonl"
    with Rejects(errors) as rejects:
        assert len(read(file, rejects)) == 1
    assert rejects.count == 1
    assert "oct.csv line 3: wrong number of columns: 4 instead of 9" in rejects.summary()
    assert json.loads(errors.read_text())["line"] == 3


def test_a_gzip_file_that_ends_early_is_reported_and_what_is_there_is_read(tmp_path: Path) -> None:
    rows = "".join(f"{1700000000 + n},view,i{n * 7919 % 1000},c{n * 104729 % 999},,\n" for n in range(5000))
    file = tmp_path / "own.csv.gz"
    file.write_bytes(gzip.compress((OWN_HEADER + rows).encode())[:-2000])
    rejects = Rejects()
    assert 0 < len(read(file, rejects)) < 5000
    assert "the file ends early" in rejects.summary()


def test_each_bad_row_says_what_is_wrong_and_the_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    rows = ["2026-01-01,view,a,c,1.5,x", "soon,view,a,c,,", "2026-01-01,nap,a,c,,", "2026-01-01,view,,c,,"]
    rows += [
        "2026-01-01,view,a,,,",
        "2026-01-01,view,a,c,cheap,",
        "1,view,a,c,,",
        "2026-01-01,view," + "x" * 65 + ",c,,",
    ]
    file.write_text(OWN_HEADER + "\n".join(rows) + "\n")
    rejects = Rejects()
    assert [event["items"][0].get("price") for event in read(file, rejects)] == [1.5, None]
    assert rejects.count == 6
    assert "event_time is no time" in rejects.summary()


def test_jsonl_takes_contract_events_without_what_the_server_added(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    raw = {
        "schema_version": 1,
        "event_id": "e1",
        "event_name": "view_item",
        "shop_id": "boats",
        "client_id": "c",
        "session_id": "s",
        "client_time_ms": 1_700_000_000_000,
        "items": [{"item_id": "i"}],
        "server": {"is_bot": False},
    }
    flat = {"event_time": 1_700_000_000, "event_name": "cart", "item_id": "i", "client_id": 5, "price": 2}
    file.write_text(json.dumps(raw) + "\n" + json.dumps(flat) + "\nno json\n[1]\n")
    rejects = Rejects()
    first, second = read(file, rejects)
    assert first == {key: value for key, value in raw.items() if key != "server"}
    assert (second["event_name"], second["client_id"], second["items"][0]["price"]) == (
        "add_to_cart",
        "5",
        2.0,
    )
    assert rejects.count == 2
    assert open_dataset(file).shop_id == "boats"


@pytest.mark.parametrize("content", ["a,b,c\n1,2,3\n", "", "hello"])
def test_an_unknown_layout_lists_what_is_accepted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "events.csv"
    file.write_text(content)
    with pytest.raises(FileRefused, match="accepted layouts"):
        open_dataset(file)


def test_an_empty_directory_and_a_missing_path_list_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match=r"contains no event files.*accepted layouts"):
        open_dataset(tmp_path)
    with pytest.raises(FileRefused, match="does not exist"):
        open_dataset(tmp_path / "nowhere")


def test_reading_a_file_again_from_elsewhere_gives_the_same_ids(tmp_path: Path) -> None:
    text = OWN_HEADER + "".join(f"{1700000000 + n},view,i{n},c,,\n" for n in range(50))
    (tmp_path / "one.csv").write_text(text)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "other.csv").write_text(text)
    assert [e["event_id"] for e in read(tmp_path / "one.csv")] == [
        e["event_id"] for e in read(tmp_path / "two")
    ]


@given(st.text(max_size=200))
def test_any_id_becomes_one_of_at_most_64_characters_always_the_same(text: str) -> None:
    assert len(short_id(text)) <= 64
    assert short_id(short_id(text)) == short_id(text)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_after_the_header_are_read_or_rejected_or_refused_with_a_sentence(
    tmp_path_factory: Any, lines: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("any") / "own.csv"
    file.write_bytes(OWN_HEADER.encode() + b"\n".join(lines))
    with contextlib.suppress(FileRefused):
        read(file, Rejects())
