"""Values of feed cells: texts, prices, availability, times and category paths."""

import html
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from catalogue.rows import BadRow

PLAIN_NUMBER = re.compile(r"\d+(\.\d+)?")
GROUPED_BY_COMMA = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
DECIMAL_COMMA = re.compile(r"(\d+|\d{1,3}(\.\d{3})+),\d{1,2}")
PRICE = re.compile(r"(?:(?P<before>[A-Za-z]{3})\s*)?(?P<number>[\d.,]+)(?:\s*(?P<after>[A-Za-z]{3}))?")
CURRENCY = re.compile(r"[A-Z]{3}")
# Values of Merchant Center, of its older feeds, and of schema.org.
AVAILABILITIES = {
    "in_stock": "in_stock",
    "instock": "in_stock",
    "available_for_order": "in_stock",
    "limited_availability": "in_stock",
    "limitedavailability": "in_stock",
    "out_of_stock": "out_of_stock",
    "outofstock": "out_of_stock",
    "soldout": "out_of_stock",
    "discontinued": "out_of_stock",
    "preorder": "preorder",
    "pre_order": "preorder",
    "presale": "preorder",
    "backorder": "backorder",
    "back_order": "backorder",
}
CONDITIONS = ("new", "refurbished", "used")
DAY = timedelta(days=1)


def text(value: str) -> str:
    """Return the value without HTML entities, with single spaces."""
    return " ".join(html.unescape(value).split())


def number(value: str) -> float:
    """Return a number, which may have a decimal comma or thousands separators.

    Raises:
        BadRow: the value is no such number.
    """
    if PLAIN_NUMBER.fullmatch(value):
        return float(value)
    if GROUPED_BY_COMMA.fullmatch(value):
        return float(value.replace(",", ""))
    if DECIMAL_COMMA.fullmatch(value):
        return float(value.replace(".", "").replace(",", "."))
    raise BadRow("price_invalid", f"{value!r} is no price such as 15.00")


def price(value: str, currency: str | None) -> tuple[float, str]:
    """Return amount and currency of a text such as `15.00 USD`. `currency` applies where the text has none.

    Raises:
        BadRow: the text is no price, or no currency is known.
    """
    found = PRICE.fullmatch(value.strip())
    if found is None or (found["before"] and found["after"]):
        raise BadRow("price_invalid", f"{value!r} is no price such as 15.00 USD")
    code = (found["after"] or found["before"] or currency or "").upper()
    if not code:
        raise BadRow("currency_missing", f"{value!r} has no currency: write 15.00 USD, or use --currency")
    return number(found["number"]), code


def availability(value: str) -> str:
    """Return the contract's word for a feed's availability.

    Raises:
        BadRow: the word is unknown.
    """
    word = value.strip().lower().rsplit("schema.org/", 1)[-1].replace(" ", "_").replace("-", "_")
    if word not in AVAILABILITIES:
        raise BadRow(
            "availability_unknown", f"{value!r} is not in_stock, out_of_stock, preorder or backorder"
        )
    return AVAILABILITIES[word]


def condition(value: str) -> str:
    """Return the contract's word for a feed's condition.

    Raises:
        BadRow: the word is unknown.
    """
    word = value.strip().lower()
    if word not in CONDITIONS:
        raise BadRow("condition_unknown", f"{value!r} is not new, refurbished or used")
    return word


def category(value: str) -> str:
    """Return a path such as `Home > Bed/Bath > Towels` with the levels of events: `Home/Bed-Bath/Towels`."""
    levels = (text(level).replace("/", "-") for level in html.unescape(value).split(">"))
    return "/".join(level for level in levels if level)


def address(value: str) -> str:
    """Return the address with a protocol and without spaces. The contract refuses what is not http or https."""
    value = html.unescape(value.strip())
    return ("https:" + value if value.startswith("//") else value).replace(" ", "%20")


def time_ms(value: str, *, end_of_day: bool = False) -> int:
    """Return milliseconds since 1970 of an ISO 8601 date or time. Without an offset, it is UTC.

    Raises:
        BadRow: the value is no such date or time.
    """
    try:
        moment = datetime.fromisoformat(value.strip())
        if end_of_day and len(value.strip()) == len(date.min.isoformat()):
            moment += DAY
    except (ValueError, OverflowError) as error:
        raise BadRow(
            "time_invalid", f"{value!r} is no date such as 2026-11-27 or 2026-11-27T08:00+0100"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, "", {})}
