import hashlib
import json
from collections import Counter
from datetime import date
from itertools import islice, pairwise
from pathlib import Path

import jsonschema
import pytest

from demo import baselines
from demo.generator import BOT_PREFIX, Event, History, generate, main, user_agent_of
from demo.source import generated
from demo.split import DAY_MS, Split, cutoff_of
from imports.rejects import Rejects

SMALL = History(events=12_000, seed=3, end=date(2026, 3, 15))
SCHEMA = Path(__file__).parents[3] / "contracts" / "event.schema.json"


@pytest.fixture(scope="module")
def shop() -> list[Event]:
    return list(generate(SMALL))


def test_the_same_seed_gives_the_same_events(shop: list[Event]) -> None:
    assert list(generate(SMALL)) == shop


def test_the_bytes_of_a_seed_never_change(shop: list[Event]) -> None:
    lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in shop)
    assert hashlib.sha256(lines.encode()).hexdigest() == (
        "c999417a2e92b4f6d22568b861ff8ba8228af61b85266fd15e3a340ccbb7141d"
    )


@pytest.mark.parametrize("end", ["2026-02-30", "soon", "9999-01-01"])
def test_an_end_that_is_no_day_or_lies_ahead_is_refused_before_anything_is_sent(
    end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--generate", "4000", "--end", end])
    message = capsys.readouterr().err
    assert end in message
    assert "such as 2026-03-15" in message or "or an earlier day" in message


def test_another_seed_gives_another_shop_with_other_ids(shop: list[Event]) -> None:
    other = generate(History(events=12_000, seed=4, end=SMALL.end))
    assert not {e["event_id"] for e in other} & {e["event_id"] for e in shop}


def test_the_history_is_about_as_long_as_asked(shop: list[Event]) -> None:
    assert abs(len(shop) - 12_000) < 12_000 * 0.1


def test_every_event_keeps_the_contract(shop: list[Event]) -> None:
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    for event in islice(shop, 0, None, 7):
        validator.validate(event)


def test_all_events_lie_in_the_days_before_the_end(shop: list[Event]) -> None:
    times = [event["client_time_ms"] for event in shop]
    assert min(times) >= SMALL.end_ms - 14 * DAY_MS
    assert max(times) < SMALL.end_ms


def test_events_come_in_time_order_but_for_a_few_that_are_late(shop: list[Event]) -> None:
    latest, late = 0, 0
    for event in shop:
        late += event["client_time_ms"] < latest - 1000
        latest = max(latest, event["client_time_ms"])
    assert 0 < late < 0.02 * len(shop)


def test_a_few_events_come_twice_and_are_alike(shop: list[Event]) -> None:
    counts = Counter(event["event_id"] for event in shop)
    assert 0 < sum(count > 1 for count in counts.values()) < 0.02 * len(shop)
    assert len({json.dumps(event, sort_keys=True) for event in shop}) == len(counts)


def test_there_are_sessions_across_midnight(shop: list[Event]) -> None:
    days: dict[str, set[int]] = {}
    for event in shop:
        days.setdefault(event["session_id"], set()).add(event["client_time_ms"] // DAY_MS)
    assert any(len(of_session) == 2 for of_session in days.values())


def test_there_are_crawlers_and_they_say_so(shop: list[Event]) -> None:
    bots = {event["client_id"] for event in shop if event["client_id"].startswith(BOT_PREFIX)}
    assert bots
    assert all("bot" in user_agent_of(client).lower() for client in bots)
    assert "bot" not in user_agent_of("shopper-000001").lower()


def test_some_items_are_launched_in_the_last_days_only(shop: list[Event]) -> None:
    first_seen: dict[str, int] = {}
    for event in shop:
        if event["event_name"] == "view_item" and not event["client_id"].startswith(BOT_PREFIX):
            item = event["items"][0]["item_id"]
            first_seen[item] = min(first_seen.get(item, SMALL.end_ms), event["client_time_ms"])
    assert any(seen_ms >= SMALL.end_ms - 3 * DAY_MS for seen_ms in first_seen.values())


def test_a_purchase_buys_what_is_in_the_cart_for_its_value(shop: list[Event]) -> None:
    purchases = [event for event in shop if event["event_name"] == "purchase"]
    assert purchases
    for purchase in purchases:
        assert purchase["value"] == pytest.approx(sum(item["price"] for item in purchase["items"]), abs=0.011)
        assert purchase["transaction_id"]


def test_some_shoppers_go_on_after_a_purchase(shop: list[Event]) -> None:
    in_order = sorted(shop, key=lambda event: (event["session_id"], event["client_time_ms"]))
    assert any(
        a["event_name"] == "purchase"
        and b["event_name"] == "view_item"
        and a["session_id"] == b["session_id"]
        for a, b in pairwise(in_order)
    )


def test_what_happens_in_a_session_tells_more_than_popularity() -> None:
    dataset = generated(History(events=30_000, seed=5, end=date(2026, 3, 15)))
    split = Split(dataset, cutoff_of(dataset))
    with Rejects() as rejects:
        sent = list(split.training_events(rejects))
    assert all(event["client_time_ms"] < dataset.cutoff_ms for event in sent if dataset.cutoff_ms)
    training, pairs = split.training_sessions(), baselines.prefixes(split.test_sessions())
    scores = {}
    for build in (baselines.popularity, baselines.item_to_item, baselines.session_knn):
        recommend = build(training)
        scores[build.__name__] = baselines.score(
            [(recommend(prefix, 20), target) for prefix, target in pairs]
        )
    assert (
        scores["session_knn"].hit_rate > scores["item_to_item"].hit_rate > 3 * scores["popularity"].hit_rate
    )
