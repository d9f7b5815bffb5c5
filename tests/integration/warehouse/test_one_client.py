"""One client, or one network, against the whole warehouse: it stops no shop's training and hides no fault."""

import gzip
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from functions.export.export import export
from functions.load.load import load
from functions.platform import warehouse
from functions.platform.contract import REJECTED_PREFIX
from functions.platform.events.contract import ServerField, Timing, accept, line
from functions.transform.transform import transform
from functions.validate.data_checks import data_checks
from functions.validate.measures import Measures, measure
from functions.validate.rules import Check
from functions.validate.thresholds import thresholds
from functions.validate.validate import validate
from testing.warehouse_stack import Stack, connected
from tests.integration.warehouse.events import DAY_MS, MINUTE_MS, deliver, raw_event
from training_jobs.snapshot.parquet import read_dataset

CONTRACT = json.loads((Path(__file__).parents[3] / "contracts/event.schema.json").read_text())
ITEMS_MAX = CONTRACT["properties"]["items"]["maxItems"]
NETWORKS, FLOOD = 20, "203.0.113.0/24"
YEAR_1927_MS, YEAR_2000_MS = -1_355_759_999_999, 946_684_800_000


@dataclass(frozen=True)
class Judged:
    """The measures of one shop and its checks by name."""

    measures: Measures
    checks: dict[str, Check]

    def verdicts(self) -> dict[str, str]:
        return {name: check.verdict for name, check in self.checks.items()}


def sent(event: dict[str, Any], network: str, now_ms: int) -> dict[str, Any]:
    """Return the event as one that came from this network."""
    received_at_ms = max(event["server"]["event_time_ms"], now_ms - 20 * DAY_MS)
    return event | {"server": event["server"] | {"ip_prefix": network, "received_at_ms": received_at_ms}}


def honest(shop: str, now_ms: int, days: int = 9, newest_share: float = 1.0) -> Iterator[dict[str, Any]]:
    """Yield ten events per network and day, of four clients."""
    for day in range(days):
        for network in range(NETWORKS):
            for number in range(int(10 * newest_share) if day == 0 else 10):
                at_ms = now_ms - day * DAY_MS - (120 * network + 10 * (number % 5) + 1) * MINUTE_MS // 2
                client = f"{day}-{network}-{number // 3}"
                event = raw_event(
                    f"{day}-{network}-{number}", "view_item", client=client, at_ms=at_ms, shop=shop,
                    items=[f"i{number}"],
                )  # fmt: skip
                yield sent(event, f"10.0.{network}.0/24", now_ms)


def attack(shop: str, now_ms: int) -> Iterator[dict[str, Any]]:
    """Yield 4,000 events of the newest day without their fields, and single events of strange times, of one network."""
    for number in range(4000):
        event = raw_event(
            f"x{number}", client=f"x{number % 50}", at_ms=now_ms - number * 20_000, shop=shop, items=[]
        )
        yield sent(event, FLOOD, now_ms)
    for name, at_ms in (("old", YEAR_1927_MS), ("older", YEAR_2000_MS), ("ahead", now_ms + 60 * MINUTE_MS)):
        yield sent(raw_event(name, client=name, at_ms=at_ms, shop=shop, items=["i1"]), FLOOD, now_ms)


def refused_line(shop: str, network: str, number: int, reason: str = "field_invalid") -> dict[str, Any]:
    """Return a line of rejected/ as collect writes it."""
    return {
        "index": 0, "event_id": None, "reason": reason, "message": "m", "sender": shop, "source": "events",
        "payload": json.dumps({"client_id": f"c{number}", "noise": "x" * 100}), "request_id": f"r{number}",
        "received_at_ms": 1, "sent_at_ms": None, "ip_prefix": network, "device": "mobile", "is_bot": False,
    }  # fmt: skip


# What each field of the contract can hold at its ends, and texts that other programs take for something else.
TEXTS = (
    "NaN", "null", "None", "Infinity", "1e308", "true", "{}", "[]", "%s", "{{ x }}", "' or 1=1 --", '"', "\\", "\\'", "\\n",
    " ", "  padded  ", "\u2028", "\u0080", "\u202e", "\uffff", "\U0001f97e" * 64, "e\u0301" * 32, "ÅÄ/ö", "a\u00a0b",
    "-0", "0x7f",
)  # fmt: skip
AMOUNTS = (1e9, -1e9, 1_000_000_000, 5e-324, -5e-324, 1e-308, 0, -0.0, 0.1 + 0.2, 999_999_999.999_999_9)


def extremes(now_ms: int) -> Iterator[bytes]:
    """Yield lines of events at the ends of the contract, accepted by the collector's own code."""
    number = 0

    def of(client: str, name: str, at_ms: int, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        raw = {
            "schema_version": 1, "event_id": f"e{number}", "event_name": name, "shop_id": "extreme", "client_id": client,
            "session_id": "s", "client_time_ms": at_ms, **fields,
        }  # fmt: skip
        event, event_time_ms = accept(raw, frozenset({"extreme"}), Timing(now_ms))
        server = {"source": "events", "ip_prefix": "2001:db8::/48", "device": "mobile", "is_bot": False}
        return line(event, ServerField(now_ms, server).encode(event_time_ms))

    for at, text in enumerate(TEXTS):
        start = now_ms - 600 * MINUTE_MS + at * MINUTE_MS
        long = (text * 500)[:500]
        item = {"item_id": text, "item_name": long, "item_category": f"{text}/{text}", "item_brand": text}
        yield of(text, "view_item", start, items=[item], page_location=long, page_referrer=long, user_id=text)
        yield of(
            text,
            "view_item",
            start + 1,
            items=[{"item_id": f"next {at}"}],
            search_term=long,
            item_list_id=text,
        )
        yield of(
            text, "purchase", start + 2, items=[item], transaction_id=text, recommendation_id=text, value=1.0
        )
    for at, amount in enumerate(AMOUNTS):
        start = now_ms - 500 * MINUTE_MS + at * MINUTE_MS
        items = [{"item_id": f"p{at}", "price": amount, "quantity": 1_000_000}] * ITEMS_MAX
        for name in ("view_item", "add_to_cart", "purchase", "refund"):
            start += 1
            yield of(
                f"amount {at}",
                name,
                start,
                items=items,
                value=amount,
                currency="XXX",
                transaction_id=f"t{at}",
            )
        yield of(
            f"amount {at}", "view_item", start + 1, items=[{"item_id": "q", "price": amount, "quantity": 0}]
        )
    distinct = [{"item_id": f"d{at}", "quantity": 1.0} for at in range(ITEMS_MAX)]
    yield of("wide", "purchase", now_ms, items=distinct, item_list_id="l")
    yield of("wide", "view_item_list", now_ms, items=distinct)
    yield of("empty", "view_item", now_ms, items=[])
    for at_ms in (YEAR_2000_MS, YEAR_2000_MS + 1, now_ms + 60 * MINUTE_MS):
        yield of("clock", "view_item", at_ms, items=[{"item_id": f"at {at_ms}"}])
    # One client that never stops, and one item that it looks at again and again.
    for at in range(3000):
        yield of("endless", "view_item", now_ms - 300 * MINUTE_MS + at, items=[{"item_id": f"d{at % 2}"}])


@pytest.fixture(scope="module")
def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture(scope="module")
def stack(new_stack: Any, now_ms: int) -> Stack:
    """Return a stack with one night's run over shops with and without attackers."""
    made: Stack = new_stack("strangers")
    bucket = made.settings.events_bucket
    events = [*honest("plain", now_ms), *honest("attacked", now_ms), *attack("attacked", now_ms)]
    events += [*honest("lost", now_ms, newest_share=0.5), *attack("lost", now_ms)]
    events += [*honest("young", now_ms, days=3), *attack("young", now_ms)]
    deliver(made.s3, bucket, "shops", events)
    made.s3.put_object(
        Bucket=bucket, Key="raw/2026/01/02/00/extremes.gz", Body=gzip.compress(b"".join(extremes(now_ms)))
    )
    flood = [refused_line("attacked", FLOOD, number) for number in range(5000)]
    release = [refused_line("lost", f"10.0.{number % NETWORKS}.0/24", number) for number in range(400)]
    today = f"{REJECTED_PREFIX}{datetime.now(UTC):%Y/%m/%d}/00/"
    for name, lines in (("flood", flood), ("release", release)):
        text = "".join(json.dumps(one) + "\n" for one in lines)
        made.s3.put_object(Bucket=bucket, Key=f"{today}{name}.gz", Body=gzip.compress(text.encode()))
    with connected(made) as connection:
        result = load({"run_id": "one"}, made.settings, connection)
    assert result["files_failed"] == []
    transform({"run_id": "one"}, made.settings, made.credentials)
    return made


@pytest.fixture(scope="module")
def judged(stack: Stack) -> dict[str, Judged]:
    """Return the checks of each shop."""
    limits, found = thresholds(), {}
    history = limits.history
    with connected(stack) as connection:
        for shop in ("plain", "attacked", "lost", "young"):
            measures = measure(
                connection, stack.s3, stack.settings.events_bucket, shop, datetime.now(UTC), history.trailing_days,
                history.judged_days,
            )  # fmt: skip
            found[shop] = Judged(measures, {check.name: check for check in data_checks(measures, limits)})
    return found


def test_one_network_changes_no_verdict_and_no_day(judged: dict[str, Judged]) -> None:
    plain, attacked = judged["plain"], judged["attacked"]
    skipped = {"lost price", "lost value", "lost currency"}
    assert {name for name, verdict in plain.verdicts().items() if verdict == "failed"} == set()
    assert plain.checks["volume"].verdict == "passed"
    assert {
        n: v for n, v in attacked.verdicts().items() if n not in {*skipped, "unusable rows", "repeated rows"}
    } == {n: v for n, v in plain.verdicts().items() if n not in {*skipped, "unusable rows", "repeated rows"}}
    assert attacked.checks["volume"].value == pytest.approx(plain.checks["volume"].value, abs=0.1)
    for days in (plain.measures.shop, attacked.measures.shop):
        assert days is not None
        assert days.full_days == 8
    assert attacked.checks["rejected events"].value == 0
    assert f"most: network {FLOOD} field_invalid 5000" in attacked.checks["rejected events"].reason
    [network] = attacked.measures.networks
    # The day ends at the newest event that three clients share, a minute before the newest of all.
    assert network.events == pytest.approx(4000, abs=10)
    assert network.clients == 50


def test_a_flood_hides_neither_half_of_the_day_nor_a_release_that_breaks_clients(
    judged: dict[str, Judged],
) -> None:
    lost = judged["lost"].checks
    assert lost["volume"].verdict == "failed"
    assert lost["volume"].value == pytest.approx(0.5, abs=0.08)
    assert lost["rejected events"].verdict == "failed"


def test_one_event_of_long_ago_gives_a_young_shop_no_history(judged: dict[str, Judged]) -> None:
    young = judged["young"]
    assert young.checks["volume"].reason.startswith("Skipped: not enough history: 1 full days")
    assert "failed" not in young.verdicts().values()


def test_what_the_contract_allows_passes_the_whole_warehouse(
    stack: Stack, tmp_path: Path, now_ms: int
) -> None:
    event = {"run_id": "extreme", "shop_id": "extreme"}
    with connected(stack) as connection:
        verdict = validate(event, stack.settings, stack.credentials, connection, stack.s3)
        snapshot = export(event, stack.settings, connection, stack.s3)
        names = dict(
            warehouse.rows(
                connection,
                "select ITEM_ID, ITEM_NAME from MARTS.PRODUCTS where SHOP_ID = 'extreme' and ITEM_NAME is not null",
            )
        )
        revenue = warehouse.one(
            connection, "select sum(REVENUE) from MARTS.SESSIONS where SHOP_ID = 'extreme'"
        )[0]
    assert verdict["failures"] == []
    assert names == {text: (text * 500)[:500] for text in TEXTS}
    assert abs(float(revenue)) < 1e12
    for kind in ("interactions", "items"):
        folder = tmp_path / kind
        folder.mkdir()
        prefix = snapshot[f"{kind}_uri"].removeprefix(f"s3://{stack.settings.models_bucket}/")  # type: ignore[literal-required]
        for found in stack.s3.list_objects_v2(Bucket=stack.settings.models_bucket, Prefix=prefix)["Contents"]:
            if found["Key"].endswith(".parquet"):
                body = stack.s3.get_object(Bucket=stack.settings.models_bucket, Key=found["Key"])[
                    "Body"
                ].read()
                (folder / found["Key"].rsplit("/")[-1]).write_bytes(body)
                assert parquet.read_table(io.BytesIO(body)).num_rows > 0
    dataset = read_dataset(tmp_path / "interactions", tmp_path / "items")
    assert set(TEXTS) <= set(dataset.vocabulary)
    # An event can have 200 items. The endless session has two items, and a snapshot has five visits of each.
    assert sorted(dataset.sessions.lengths)[-2:] == [2 * 5, 200]
