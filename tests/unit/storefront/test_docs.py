"""The facts in docs/storefront.md."""

import re
from pathlib import Path

from storefront.sdk import build, contract

REPOSITORY = Path(__file__).resolve().parents[3]
TEXT = (REPOSITORY / "docs" / "storefront.md").read_text()
SOURCE = "\n".join(path.read_text() for path in build.sources())


def test_every_row_of_the_comparison_names_a_test_or_is_struck() -> None:
    table = TEXT.split("## Beside GA4 and Snowplow")[1]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    tests = "\n".join(path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py"))
    for feature, ours, *others, test in rows:
        assert [other for other in others if other.strip() in ("", "?")] == [], feature
        if feature.strip().startswith("~~"):
            assert ours.strip() == "no"
        else:
            assert f"def {test.strip().strip('`')}(" in tests, feature


def test_every_attribute_of_the_script_element_is_documented() -> None:
    read = set(re.findall(r"\bsettings\.(\w+)", SOURCE))
    written = {"data-" + re.sub("([A-Z])", lambda found: "-" + found[1].lower(), name) for name in read}
    assert written == set(re.findall(r"`(data-[a-z-]+)`(?:,| \|)", TEXT))


def test_every_custom_property_and_part_of_the_carousel_is_documented() -> None:
    css = (build.HERE / "carousel.css").read_text()
    for name in set(re.findall(r"var\((--tugboat-[a-z-]+)", css)):
        assert f"`{name}`" in TEXT
    for part in set(re.findall(r'named\("(\w+)"', (build.HERE / "carousel.js").read_text())):
        assert f"`{part}`" in TEXT


def test_the_limits_in_the_text_are_the_ones_in_the_source() -> None:
    generated = contract.javascript(contract.read_schema())
    limits = dict(re.findall(r"const (\w+) = ([\d_* ]+);", generated + SOURCE))
    assert {name: eval(text) for name, text in limits.items()} == {
        "SCHEMA_VERSION": 1,
        "BATCH_WAIT_MS": 1_000,
        "BATCH_MAX_EVENTS": 50,
        "BATCH_MAX_CHARACTERS": 20_000,
        "EVENT_MAX_BYTES": 15_000,
        "QUEUE_MAX_EVENTS": 500,
        "QUEUE_MAX_CHARACTERS": 500_000,
        "QUEUE_MAX_AGE_MS": 3 * 86_400_000,
        "ORPHAN_AFTER_MS": 90_000,
        "SESSION_SILENCE_MS": 1_800_000,
        "SESSION_ITEMS_MAX": 50,
        "EVENT_ITEMS_MAX": 200,
        "ID_MAX_CHARACTERS": 64,
        "SESSION_RECEIPTS_MAX": 20,
        "HELD_MAX_EVENTS": 100,
        "RECOMMEND_K_DEFAULT": 10,
        "POST_ABOVE_CHARACTERS": 2_000,
        "COPY_WITHIN_MS": 2_000,
        "REQUEST_TIMEOUT_MS": 20_000,
        "RECOMMEND_TIMEOUT_MS": 4_000,
        "FIRST_BACKOFF_MS": 1_000,
        "LONGEST_BACKOFF_MS": 30_000,
        "LONGEST_RETRY_AFTER_MS": 3_600_000,
        "PIXEL_AFTER_FAILURES": 3,
    }
    for said in (
        "at 50,",
        "The last 20 items clicked",
        "500 events, 500,000 characters, three days",
        "after 90 seconds",
        "up to 30 s",
        "up to an hour",
        "items after the 200th",
        "more than 64 characters",
        "An event above 15,000 bytes",
        "posts above 2,000",
        "ignored for two seconds",
    ):
        assert said in TEXT
