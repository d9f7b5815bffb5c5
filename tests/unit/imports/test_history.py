import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imports.history import ORDER_TOO_LONG
from imports.refused import FileRefused
from tests.unit.imports.reading import HEADER, read, read_path, rows

TEN_O_CLOCK_MS = 1_772_359_200_000


def items(event: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in event["items"]]


def test_the_lines_of_an_order_are_one_purchase_with_their_sum(tmp_path: Path) -> None:
    lines = "".join(
        f"2026-03-01T10:00:00Z,purchase,i{n},c1,{price},1,T1\n" for n, price in enumerate((10, 20, 30))
    )
    found = read(tmp_path, HEADER + lines)
    (event,) = found.events
    assert event["event_name"] == "purchase"
    assert event["value"] == 60
    assert event["items"] == [
        {"item_id": "i0", "price": 10, "quantity": 1},
        {"item_id": "i1", "price": 20, "quantity": 1},
        {"item_id": "i2", "price": 30, "quantity": 1},
    ]
    assert (found.account.rows, found.account.events, found.account.joined) == (3, 1, 2)


def test_an_order_is_joined_across_files_and_apart_from_another_client(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text(HEADER + "2026-03-01T10:00:00Z,purchase,a,c1,10,2,T1\n")
    other = "2026-03-01T10:00:05Z,purchase,b,c1,5,,T1\n2026-03-01T10:00:05Z,purchase,b,c2,5,,T1\n"
    (tmp_path / "2.csv").write_text(HEADER + other)
    found = read_path(tmp_path)
    assert [(event["client_id"], items(event), event["value"]) for event in found.events] == [
        ("c1", ["a", "b"], 25),
        ("c2", ["b"], 5),
    ]


def test_an_order_that_two_files_have_counts_once_and_equal_lines_of_one_file_count_twice(
    tmp_path: Path,
) -> None:
    line = "2026-03-01T10:00:00Z,purchase,a,c1,10,1,T1\n"
    (tmp_path / "january.csv").write_text(HEADER + line + line)
    (tmp_path / "until-february.csv").write_text(HEADER + line + line + line.replace(",a,", ",b,"))
    found = read_path(tmp_path)
    assert [(items(event), event["value"]) for event in found.events] == [(["a", "a", "b"], 30)]
    assert (found.account.rows, found.account.joined, found.account.repeated) == (5, 2, 2)


def test_a_pattern_names_files_of_any_folder(tmp_path: Path) -> None:
    for name in ("a1.csv", "a2.csv", "b.csv"):
        (tmp_path / name).write_text(HEADER + f"2026-03-01,view,{name},c1,,,\n")
    assert len(read_path(tmp_path / "a*.csv").events) == 2
    with pytest.raises(FileRefused, match="does not exist"):
        read_path(tmp_path / "c*.csv")


def test_a_returned_product_is_a_refund_and_a_discount_lowers_the_order(tmp_path: Path) -> None:
    lines = "2026-03-01,purchase,a,c1,10,2,T1\n2026-03-01,purchase,discount,c1,-5,1,T1\n2026-03-01,purchase,a,c1,10,-1,C1\n"
    found = read(tmp_path, HEADER + lines)
    assert sorted((event["event_name"], event["value"]) for event in found.events) == [
        ("purchase", 15),
        ("refund", 10),
    ]
    assert found.account.returns == 1


def test_an_order_with_more_lines_than_the_contract_allows_keeps_its_value_and_rejects_the_rest(
    tmp_path: Path,
) -> None:
    found = read(tmp_path, HEADER + "".join(f"2026-03-01,purchase,i{n},c1,1,1,T1\n" for n in range(203)))
    (event,) = found.events
    assert (len(event["items"]), event["value"]) == (200, 203)
    assert found.reasons() == [ORDER_TOO_LONG] * 3
    assert (found.account.rows, found.account.joined, found.account.rejected) == (203, 199, 3)


@pytest.mark.parametrize("order_id", ["", "T1"])
def test_a_sum_that_no_event_may_have_is_left_out_and_the_items_stay(tmp_path: Path, order_id: str) -> None:
    lines = f"2026-03-01,purchase,a,c1,1000000000,1000,{order_id}\n"
    (event,) = read(tmp_path, HEADER + lines).events
    assert "value" not in event
    assert event["items"] == [{"item_id": "a", "price": 1_000_000_000, "quantity": 1000}]


def test_an_unclosed_quote_costs_one_row_of_the_file(tmp_path: Path) -> None:
    content = "event_time,event_name,item_id,client_id,item_name\n"
    content += '2026-03-01T10:00:00Z,view_item,a,c1,"12 inch pan\n'
    content += "".join(f"2026-03-01T10:01:00Z,view_item,b{n},c2,Pan\n" for n in range(1499))
    found = read(tmp_path, content)
    assert (len(found.events), [reject.line for reject in found.rejects]) == (1499, [2])


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_separators_and_encodings_are_recognized(tmp_path: Path, separator: str, encoding: str) -> None:
    lines = [
        ["event_time", "event_name", "item_id", "client_id", "price", "item_name"],
        ["2026-03-01T10:00:00Z", "view_item", "ä-1", "c1", "12,50", "Straße"],
    ]
    found = read(tmp_path, "\r\n".join(separator.join(cells) for cells in lines).encode(encoding))
    (event,) = found.events
    assert event["items"] == [{"item_id": "ä-1", "item_name": "Straße", "price": 12.5}]


def test_a_line_that_is_not_utf_8_is_rejected_where_others_are(tmp_path: Path) -> None:
    good, bad = "2026-03-01,view,ä,c1,\n".encode(), "2026-03-01,view,ö,c1,\n".encode("cp1252")
    found = read(tmp_path, rows().encode() + good + bad + good)
    assert len(found.events) == 2
    assert found.reasons() == ["the line is not UTF-8"]


@pytest.mark.parametrize(
    ("cells", "prices"),
    [
        (["1,299.00", "15.00 USD", "€ 5", "$1,000,000.5"], [1299.0, 15.0, 5.0, 1000000.5]),
        (["1.299,00", "15,00 EUR", "7"], [1299.0, 15.0, 7.0]),
        (["1 299,5", "1'000,25", "CHF 3"], [1299.5, 1000.25, 3.0]),
        (["1e2", "0.125", "+3"], [100.0, 0.125, 3.0]),
    ],
)
def test_numbers_are_read_as_the_file_writes_them(
    tmp_path: Path, cells: list[str], prices: list[float]
) -> None:
    found = read(
        tmp_path,
        rows(*cells).replace(",", ";", 4).replace("c1,", "c1;").replace("Z,view_item,a,", "Z;view_item;a;"),
    )
    assert [event["items"][0]["price"] for event in found.events] == prices
    assert [reject.reason for reject in found.rejects] == []


@pytest.mark.parametrize("marker", ["NULL", "nan", "None", "\\N", "N/A", "-", "", "  ", "NaN", "#N/A"])
def test_no_value_leaves_out_an_optional_field_and_rejects_a_required_one(
    tmp_path: Path, marker: str
) -> None:
    found = read(tmp_path, rows(marker) + f"2026-03-01T10:00:00Z,view,p0,{marker},5\n")
    assert [event["items"] for event in found.events] == [[{"item_id": "a"}]]
    assert [(reject.code, reject.reason) for reject in found.rejects] == [
        ("field_missing", "client_id is empty")
    ]
    assert not found.account.lost["price"]


def test_an_unreadable_optional_field_is_left_out_and_counted(tmp_path: Path) -> None:
    content = "event_time,event_name,item_id,client_id,price,quantity,currency\n"
    content += "2026-03-01,view,a,c,cheap,1.5,Euro\n2026-03-01,view,b,c,-79.37,-2,eur\n"
    found = read(tmp_path, content)
    assert [event["items"] for event in found.events] == [[{"item_id": "a"}], [{"item_id": "b"}]]
    assert found.events[1]["currency"] == "EUR"
    assert dict(found.account.lost) == {"price": 2, "quantity": 2, "currency": 1}


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T10:00:00Z",
        "2026-03-01T10:00:00",
        "2026-03-01 10:00:00 UTC",
        "2026-03-01 12:00:00+02:00",
        "2026-03-01T12:00:00+0200",
        "2026-03-01T12:00:00.000+02",
        "2026-03-01 10:00",
        "1772359200",
        "1772359200.0",
        "1772359200000",
        "1772359200000000",
        "1772359200000000000",
        "20260301100000",
        "01.03.2026 10:00",
        "2026/03/01 10:00:00",
    ],
)
def test_times_are_read_as_tools_write_them(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, f"event_time,event_name,item_id,client_id\n{text},view,a,c\n")
    assert [event["client_time_ms"] for event in found.events] == [TEN_O_CLOCK_MS]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(946_684_800, 4_102_444_799), min_size=1, max_size=40))
def test_seconds_milliseconds_and_iso_mean_the_same_time(tmp_path: Path, seconds: list[int]) -> None:
    content = "event_time,event_name,item_id,client_id\n"
    for time_s in seconds:
        iso = datetime.fromtimestamp(time_s, UTC).isoformat()
        content += "".join(f"{text},view,a,c\n" for text in (time_s, time_s * 1000, time_s * 10**6, iso))
    found = read(tmp_path, content)
    assert [event["client_time_ms"] for event in found.events] == sorted(
        time_s * 1000 for time_s in seconds for _ in range(4)
    )


def test_dates_with_slashes_follow_the_whole_column(tmp_path: Path) -> None:
    header = "event_time,event_name,item_id,client_id\n"
    found = read(tmp_path, header + "3/1/2026 10:00,view,a,c\n3/14/2026 2:05 PM,view,b,c\n")
    assert [event["client_time_ms"] for event in found.events] == [TEN_O_CLOCK_MS, 1_773_497_100_000]
    found = read(tmp_path, header + "01/03/2026 10:00:00,view,a,c\n14/03/2026 14:05:00,view,b,c\n")
    assert [event["client_time_ms"] for event in found.events] == [TEN_O_CLOCK_MS, 1_773_497_100_000]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "event_time,event_name,item_id,client_id\n3/1/2026 10:00,view,a,c\n",
            "whether the day or the month",
        ),
        (
            "event_time,event_name,item_id,client_id\n3/14/2026,view,a,c\n14/3/2026,view,a,c\n",
            "writes dates in two ways",
        ),
        (
            "event_time,event_name,item_id,client_id\nsoon,view,a,c\nlater,view,a,c\n",
            "no time that can be read",
        ),
        (rows('"1,299"', '"2,500"'), "a thousands mark or a decimal mark"),
        (rows("12.50", '"12,50"'), "writes numbers in two ways"),
        ("[{}]", "one JSON array"),
        ('{"session":0,"events":[{"aid":1,"ts":1659304800025,"type":"clicks"}]}\n', "OTTO's layout"),
        ('{"a": 1}\n', "its first keys are a"),
        ("PK\x03\x04", "an Excel workbook"),
        ("Obj\x01", "Avro"),
        ("PAR1 and no more", "not a readable parquet file"),
    ],
)
def test_a_file_that_can_be_read_in_two_ways_or_in_none_is_refused(
    tmp_path: Path, content: str, sentence: str
) -> None:
    with pytest.raises(FileRefused, match=sentence):
        read(tmp_path, content)


def google_event(**changes: Any) -> dict[str, Any]:
    """Return an event as BigQuery's export has it."""
    return {
        "event_date": "20260301",
        "event_timestamp": TEN_O_CLOCK_MS * 1000,
        "event_name": "purchase",
        "event_params": [
            {"key": "ga_session_id", "value": {"string_value": None, "int_value": 77, "double_value": None}},
            {
                "key": "page_location",
                "value": {
                    "string_value": "https://shop.example/a?x=1#y",
                    "int_value": None,
                    "double_value": None,
                },
            },
            {"key": "currency", "value": {"string_value": "EUR", "int_value": None, "double_value": None}},
        ],
        "user_id": None,
        "user_pseudo_id": "12.34",
        "event_bundle_sequence_id": 5,
        "ecommerce": {"transaction_id": "T1", "purchase_revenue": 30.5, "total_item_quantity": 3},
        "items": [
            {
                "item_id": "a",
                "item_name": 'A "big" one',
                "item_brand": "(not set)",
                "item_category": "x",
                "item_category2": "y",
                "price": 10.0,
                "quantity": 2,
            },
            {
                "item_id": "b",
                "item_name": None,
                "item_brand": None,
                "item_category": None,
                "item_category2": None,
                "price": 10.5,
                "quantity": None,
            },
        ],
        **changes,
    }


GOOGLE_EVENTS = [
    google_event(),
    google_event(event_name="session_start", items=[], ecommerce=None),
    google_event(
        event_name="view_item",
        ecommerce={"transaction_id": "(not set)", "purchase_revenue": None, "total_item_quantity": None},
    ),
    google_event(event_name="view_item", items=[], ecommerce=None),
    google_event(event_name="page_view", items=[], ecommerce=None, user_pseudo_id=None),
]


def check_google(found: Any) -> None:
    purchase, view = found.events
    assert purchase == {
        "schema_version": 1,
        "event_id": purchase["event_id"],
        "event_name": "purchase",
        "shop_id": "demo",
        "client_id": "12.34",
        "session_id": "77",
        "client_time_ms": TEN_O_CLOCK_MS,
        "items": [
            {
                "item_id": "a",
                "item_name": 'A "big" one',
                "item_category": "x/y",
                "price": 10.0,
                "quantity": 2,
            },
            {"item_id": "b", "price": 10.5},
        ],
        "page_location": "https://shop.example/a",
        "transaction_id": "T1",
        "currency": "EUR",
        "value": 30.5,
        "server": purchase["server"],
    }
    assert "transaction_id" not in view
    assert sorted((reject.line, reject.code) for reject in found.rejects) == [
        (2, "unknown_event_name"),
        (4, "field_missing"),
        (5, "field_missing"),
    ]


def test_other_names_of_google_analytics_are_read_as_the_contracts(tmp_path: Path) -> None:
    searched = {
        "key": "search_term",
        "value": {"string_value": "tents", "int_value": None, "double_value": None},
    }
    event = google_event(event_name="view_search_results", event_params=[searched], items=[], ecommerce=None)
    found = read(tmp_path, json.dumps(event) + "\n", "events.json")
    assert [(one["event_name"], one["search_term"]) for one in found.events] == [("search", "tents")]
    assert found.rejects == []
    own = read(tmp_path, HEADER + "2026-03-01T10:00:00Z,view_search_results,,c,,,\n", "own.csv")
    assert [one["event_name"] for one in own.events] == ["search"]


def test_google_analytics_is_read_from_parquet_and_json_lines_alike(tmp_path: Path) -> None:
    parquet = tmp_path / "events_20260301"
    pyarrow.parquet.write_table(pa.Table.from_pylist(GOOGLE_EVENTS), parquet)
    from_parquet = read_path(parquet)
    check_google(from_parquet)
    # BigQuery writes 64-bit integers as strings.
    lines = json.loads(json.dumps(GOOGLE_EVENTS))
    for event in lines:
        event["event_timestamp"] = str(event["event_timestamp"])
    packed = gzip.compress("".join(json.dumps(event) + "\n" for event in lines).encode())
    from_json = read(tmp_path, packed, "events.json.gz")
    check_google(from_json)
    assert from_json.events == from_parquet.events


def test_parquet_of_own_columns_gives_the_events_and_ids_of_the_same_csv(tmp_path: Path) -> None:
    table = pa.table(
        {
            "event_time": pa.array([datetime(2026, 3, 1, 10, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "event_name": ["view_item", "view_item"],
            "item_id": ["a", "b"],
            "client_id": pa.array([17850.0, None], pa.float64()),
            "price": pa.array([12.5, None], pa.float64()),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "own.parquet")
    found = read_path(tmp_path / "own.parquet")
    assert [event["client_id"] for event in found.events] == ["17850"]
    assert found.reasons() == ["client_id is empty"]
    text = "event_time,event_name,item_id,client_id,price\n2026-03-01 10:00:00,view,a,17850,12.50\n"
    assert read(tmp_path, text).events == found.events


def test_json_lines_with_events_of_the_contract_lose_a_bad_field_and_not_the_event(tmp_path: Path) -> None:
    event = {
        "event_id": "e1",
        "event_name": "view_item",
        "client_id": "c",
        "client_time_ms": TEN_O_CLOCK_MS,
        "value": "12",
        "items": [{"item_id": "a", "price": "cheap", "quantity": 2}],
    }
    other = {**event, "event_id": "e2", "shop_id": "another"}
    lines = [event, other, {**event, "client_time_ms": "now"}]
    found = read(tmp_path, "".join(json.dumps(line) + "\n" for line in lines) + "\nno json\n", "e.jsonl")
    assert [(one["event_id"], one["items"]) for one in found.events] == [
        ("e1", [{"item_id": "a", "quantity": 2}])
    ]
    assert [reject.code for reject in found.rejects] == ["field_invalid", "unknown_shop", "field_invalid"]
    assert dict(found.account.lost) == {"value": 1, "items.price": 1}
    assert found.account.blank == 1


def test_reading_again_gives_the_same_lines_and_a_later_clock_only_rejects_less(tmp_path: Path) -> None:
    content = HEADER + "2026-03-01T10:00:00Z,view,a,c,,,\n2027-03-01T10:00:00Z,view,b,c,,,\n"
    early = read(tmp_path, content, now_ms=TEN_O_CLOCK_MS)
    assert [reject.code for reject in early.rejects] == ["client_time_in_future"]
    late = read(tmp_path, content, now_ms=2 * TEN_O_CLOCK_MS)
    assert early.events == late.events[:1]
    assert read(tmp_path, content).events == late.events


def test_uci_online_retail_is_read_with_its_own_header(tmp_path: Path) -> None:
    content = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    content += "536365,85123A,HOLDER,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"
    content += "536365,71053,LANTERN,6,12/1/2010 8:26,3.39,17850,United Kingdom\n"
    content += "C536379,D,Discount,-1,12/13/2010 9:41,27.5,14527,United Kingdom\n"
    content += "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom\n"
    found = read(tmp_path, content)
    assert [(event["event_name"], items(event), event["value"]) for event in found.events] == [
        ("purchase", ["85123A", "71053"], 35.64),
        ("refund", ["D"], 27.5),
    ]
    assert found.reasons() == ["client_id is empty"]


NASTY = st.text(st.sampled_from('aä1,;"\n\r\t\\-'), max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(NASTY | st.lists(NASTY, min_size=5, max_size=5).map(",".join), max_size=20),
    st.binary(max_size=20),
)
def test_every_line_of_any_file_is_accounted_for(tmp_path: Path, lines: list[str], tail: bytes) -> None:
    content = rows("1").encode() + "\n".join(lines).encode() + tail
    try:
        found = read(tmp_path, content)
    except FileRefused:
        return
    account = found.account
    account.check()
    assert account.rows == account.events + account.joined + account.repeated + account.rejected
    assert len(found.events) == account.events
    assert len(found.rejects) == account.rejected
    if b"\r" not in content:
        assert account.lines == content.count(b"\n") + (not content.endswith(b"\n"))


def test_personal_data_of_google_analytics_is_masked(tmp_path: Path) -> None:
    def param(key: str, text: str) -> dict[str, Any]:
        return {"key": key, "value": {"string_value": text, "int_value": None, "double_value": None}}

    event = google_event(
        event_name="view_item",
        user_pseudo_id="jane@example.com",
        event_params=[
            param("page_location", "https://jane:pw@s/jane%40example.com/a?b=jane@example.com"),
            param("page_referrer", "https://s/+491701234567"),
            param("search_term", "jane@example.com 4111 1111 1111 1111"),
        ],
    )
    [stored] = read(tmp_path, json.dumps(event) + "\n", "events.json").events
    assert stored["page_location"] == "https://s/(mail)/a"
    assert stored["page_referrer"] == "https://s/(phone)"
    assert stored["search_term"] == "(mail) (card)"
    assert stored["client_id"].startswith("pseudonym-")
