"""SQL for the values of a text column: no value, ids, times and amounts, whichever way a tool writes them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import contracts
from functions.platform.events.masking import (
    SUSPECT_ID_SQL,
    SUSPECT_SQL,
    Pseudonym,
    masked_address,
    masked_catalogue_text,
    masked_id,
    masked_person_id,
    masked_text,
)
from imports.refused import FileRefused

_SCHEMA = contracts.read("event.schema")
_DEFINITIONS = _SCHEMA["definitions"]
_TIME = _SCHEMA["properties"]["client_time_ms"]
EARLIEST_MS, LATEST_MS = int(_TIME["minimum"]), int(_TIME["maximum"])
TEXT_MAX_CHARACTERS = int(_DEFINITIONS["text"]["maxLength"])
AMOUNT_MIN, AMOUNT_MAX = int(_DEFINITIONS["amount"]["minimum"]), int(_DEFINITIONS["amount"]["maximum"])
QUANTITY = _SCHEMA["properties"]["items"]["items"]["properties"]["quantity"]
QUANTITY_MIN, QUANTITY_MAX = int(QUANTITY["minimum"]), int(QUANTITY["maximum"])
# DuckDB's patterns match whole texts here, so the anchors are superfluous.
ID_PATTERN = str(_DEFINITIONS["id"]["pattern"]).removeprefix("^").removesuffix("$")
CURRENCY_PATTERN = str(_SCHEMA["properties"]["currency"]["pattern"]).removeprefix("^").removesuffix("$")

# Spellings of "no value": of SQL dumps, pandas, R, Excel, Google Analytics.
NO_VALUE = (
    "",
    "-",
    "\\n",
    "#n/a",
    "(not set)",
    "<na>",
    "n/a",
    "nan",
    "nat",
    "nil",
    "none",
    "null",
    "undefined",
)
_NO_VALUE_BYTES = max(len(spelling) for spelling in NO_VALUE)
_SPACES = " \t\r\n\v\f\u00a0\u2007\u202f\ufeff"


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def any_of(texts: Iterable[str]) -> str:
    """Return a list for SQL's IN."""
    return "(" + ", ".join(literal(text) for text in texts) + ")"


def trimmed(column: str) -> str:
    """Return SQL for a text without spaces around it. The slow function runs only where there may be some."""
    edge = "^[^!-~]|[^!-~]$"
    return f"case when regexp_matches({column}, '{edge}') then trim({column}, {literal(_SPACES)}) else {column} end"


def given_trimmed(column: str) -> str:
    """Return SQL for a trimmed text, or null if it is a spelling of "no value"."""
    is_none = f"strlen({column}) <= {_NO_VALUE_BYTES} and (lower({column}) in {any_of(NO_VALUE)} or {column} = 'NA')"
    return f"case when {is_none} then null else {column} end"


def given(column: str) -> str:
    """Return SQL for a text, trimmed, or null for a spelling of "no value"."""
    return given_trimmed(f"({trimmed(column)})")


def is_id(column: str) -> str:
    """Return SQL that is true for a valid id of the contract."""
    return f"regexp_full_match({column}, {literal(ID_PATTERN)})"


def short_id(column: str) -> str:
    """Return SQL for an id: the text if the contract allows it, else a digest of it."""
    return f"case when {is_id(column)} then {column} else sha1({column}) end"


def free_text(column: str, function: str = "masked_catalogue_text") -> str:
    """Return SQL for a text without control characters, cut to the contract's length and masked; null if nothing is left."""
    cleaned = rf"left(regexp_replace({column}, '\p{{C}}', '', 'g'), {TEXT_MAX_CHARACTERS})"
    return f"nullif({masked(column, function, cleaned)}, '')"


def masking_functions(pseudonym: Pseudonym) -> dict[str, Callable[[str], str]]:
    """Return the collector's own functions by the names that they have in SQL."""
    return {
        "masked_text": masked_text,
        "masked_catalogue_text": masked_catalogue_text,
        "masked_address": masked_address,
        "masked_id": lambda text: masked_id(text, pseudonym),
        "masked_person_id": lambda text: masked_person_id(text, pseudonym),
    }


def masked(column: str, function: str, text: str = "") -> str:
    """Return SQL for a masked text or id. The slow function runs only where there may be something to mask.

    Args:
        column: SQL by which to decide that.
        function: the name of a masking function.
        text: SQL of the text, if it is made of the column.
    """
    pattern = SUSPECT_ID_SQL if function in ("masked_id", "masked_person_id") else SUSPECT_SQL
    text = text or column
    return f"case when regexp_matches({column}, {literal(pattern)}) then {function}({text}) else {text} end"


def json_fields(*fields: tuple[str, str]) -> str:
    """Return SQL for `,"name":value` of each field, without those that are null. `concat` skips nulls, `||` does not."""
    return "concat(" + ", ".join(_json_field(name, value) for name, value in fields) + ")"


def json_object(first: tuple[str, str], *fields: tuple[str, str]) -> str:
    """Return SQL for a JSON object; the first field is never null."""
    name, value = first
    # One call copies each text once; a chain of `||` copies the beginning again and again.
    inner = ", ".join(_json_field(field, text) for field, text in fields)
    return f"""concat('{{"{name}":', {value}, {inner}, '}}')"""


def _json_field(name: str, value: str) -> str:
    return f"""',"{name}":' || ({value})::varchar"""


# ISO 8601 with a space or a T, and with a zone or without.
_DAY = r"\d{4}-\d{1,2}-\d{1,2}"
_CLOCK = r"[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_ZONE = r" ?(?:Z|z|UTC|GMT)"
_OFFSET = r" ?[+-]\d{2}(?::?\d{2})?"
ISO = f"{_DAY}(?:{_CLOCK}(?:{_ZONE})?)?"
ISO_WITH_OFFSET = f"{_DAY}{_CLOCK}{_OFFSET}"
EPOCH = r"[+-]?\d+(?:\.\d*)?(?:[eE]\+?\d+)?"
COMPACT = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?:[ T]?[0-2]\d[0-5]\d[0-6]\d)?"
# Excel's dates, and those of most of Europe.
_LOCAL_CLOCK = r"(?:,? \d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?)?"
SLASHES = rf"\d{{1,2}}/\d{{1,2}}/\d{{4}}{_LOCAL_CLOCK}"
DOTS = rf"\d{{1,2}}\.\d{{1,2}}\.\d{{4}}{_LOCAL_CLOCK}"
YEAR_FIRST = rf"\d{{4}}/\d{{1,2}}/\d{{1,2}}{_LOCAL_CLOCK}"


@dataclass(frozen=True)
class Marks:
    """How a file writes numbers and dates with slashes."""

    decimal: str = "."
    day_first: bool = False


def time_ms(column: str, marks: Marks) -> str:
    """Return SQL for a time in milliseconds since 1970, or null for a text that is no time. No zone means UTC."""
    zoneless = f"regexp_replace(replace({column}, ',', '.'), '{_ZONE}$', '')"
    with_offset = rf"regexp_replace(replace({column}, ',', '.'), ' ?([+-]\d{{2}}):?(\d{{2}})?$', '\1:\2')"
    with_offset = rf"regexp_replace({with_offset}, ':$', ':00')"
    number = f"try_cast({column} as double)"
    compact = f"regexp_replace({column}, '[ T]', '')"
    slash_days = "%d/%m/%Y" if marks.day_first else "%m/%d/%Y"
    return f"""case
        when regexp_full_match({column}, {literal(ISO)})
            then epoch_ms(try_cast({zoneless} as timestamp))
        when regexp_full_match({column}, {literal(ISO_WITH_OFFSET)})
            then epoch_ms(try_cast({with_offset} as timestamptz))
        when regexp_full_match({column}, {literal(COMPACT)})
            then epoch_ms(try_strptime({compact}, ['%Y%m%d', '%Y%m%d%H%M%S']))
        when regexp_full_match({column}, {literal(EPOCH)}) then case
            when abs({number}) < 1e11 then round({number} * 1e3)::bigint
            when abs({number}) < 1e14 then round({number})::bigint
            when abs({number}) < 1e17 then round({number} / 1e3)::bigint
            when abs({number}) < 9e18 then round({number} / 1e6)::bigint
            else 0 end
        when regexp_full_match({column}, {literal(SLASHES)}) then {_local(column, slash_days)}
        when regexp_full_match({column}, {literal(DOTS)}) then {_local(column, "%d.%m.%Y")}
        when regexp_full_match({column}, {literal(YEAR_FIRST)}) then {_local(column, "%Y/%m/%d")}
    end"""


def _local(column: str, day: str) -> str:
    tidy = f"upper(regexp_replace(replace({column}, ',', ''), ' ?([AaPp][Mm])$', ' \\1'))"
    clocks = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
    formats = ", ".join(literal(day + clock) for clock in clocks)
    return f"epoch_ms(try_strptime({tidy}, [{formats}]))"


# A number with its sign; a currency may stand before or after it.
_MONEY = r"(?:[A-Za-z]{1,3}\.?|\p{Sc})"
_GROUPS = r"' \x{2019}\x{a0}\x{202f}"
_DIGITS = rf"\d[\d.,{_GROUPS}]*"
_AMOUNT = rf"([+-]?)\s*{_MONEY}?\s*([+-]?)\s*({_DIGITS}?)\s*{_MONEY}?"
_PLAIN = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"


def digits(column: str) -> str:
    """Return SQL for the digits and marks of an amount, without sign, currency and spaces; '' if it is none."""
    found = f"regexp_extract({column}, {literal('^' + _AMOUNT + '$')}, 3)"
    return f"regexp_replace({found}, {literal(f'[{_GROUPS}]')}, '', 'g')"


def number(column: str, marks: Marks) -> str:
    """Return SQL for a number, or null for a text that is none."""
    decimal, thousands = (",", ".") if marks.decimal == "," else (".", ",")
    pattern = rf"(?:\d{{1,3}}(?:\{thousands}\d{{3}})+|\d+)(?:\{decimal}\d*)?"
    core = digits(column)
    canonical = f"replace(replace({core}, '{thousands}', ''), '{decimal}', '.')"
    sign = f"case when regexp_matches({column}, '^[^0-9]*-') then -1 else 1 end"
    # What `amount` writes for most files needs no further look.
    plain = "false" if marks.decimal == "," else f"regexp_full_match({column}, {literal(_PLAIN)})"
    return f"""case
        when {column} is null then null
        when {plain} then try_cast({column} as double)
        when regexp_full_match({core}, {literal(pattern)}) then {sign} * try_cast({canonical} as double)
    end"""


def decimal_evidence(column: str) -> str:
    """Return SQL that counts, over a column, what shows the decimal mark; see `decide_marks`."""
    core = digits(column)

    def shows(mark: str, other: str) -> str:
        m, o = rf"\{mark}", rf"\{other}"
        return rf"^\d+{m}(?:\d{{1,2}}|\d{{4,}})$|^(?:0+|\d{{4,}}){m}\d+$|\d{o}\d{{3}}{m}\d*$|^\d{{1,3}}(?:{o}\d{{3}}){{2,}}$"

    def aggregate(pattern: str) -> str:
        return f"min({column}) filter (where regexp_matches({core}, {literal(pattern)}))"

    return ", ".join(
        (
            aggregate(shows(".", ",")),
            aggregate(shows(",", ".")),
            aggregate(r"^[1-9]\d{0,2}\.\d{3}$"),
            aggregate(r"^[1-9]\d{0,2},\d{3}$"),
        )
    )


def decide_decimal(file: Path, examples: tuple[str | None, ...], typed: bool) -> str:
    """Return the decimal mark of a file.

    Args:
        file: for the message.
        examples: a number that shows a point, one that shows a comma, and one each with either mark that shows neither.
        typed: numbers of the file are written as JSON and parquet do, so a point is a decimal point.

    Raises:
        FileRefused: the numbers contradict each other, or can be read in two ways.
    """
    point, comma, perhaps_point, perhaps_comma = examples
    if point and comma:
        raise FileRefused(
            f"{file} writes numbers in two ways, {point!r} and {comma!r}. "
            "Write every number with a decimal point and without thousands marks, and run the command again."
        )
    if point or comma:
        return "." if point else ","
    if typed and not perhaps_comma:
        return "."
    if unclear := perhaps_comma or perhaps_point:
        raise FileRefused(
            f"{file} has numbers such as {unclear!r}, and nothing in it shows whether that is a thousands mark or a "
            "decimal mark. Write every number with a decimal point and two decimals, and run the command again."
        )
    return "."


def slash_evidence(column: str) -> str:
    """Return SQL that finds dates with slashes, over a column: day first, month first, and any."""
    shape = f"regexp_full_match({column}, {literal(SLASHES)})"
    first = f"try_cast(regexp_extract({column}, '^(\\d+)/', 1) as int)"
    second = f"try_cast(regexp_extract({column}, '^\\d+/(\\d+)/', 1) as int)"
    return ", ".join(
        f"min({column}) filter (where {shape}{condition})"
        for condition in (f" and {first} > 12", f" and {second} > 12", "")
    )


def decide_day_first(file: Path, examples: tuple[str | None, ...]) -> bool:
    """Return True if dates with slashes begin with the day.

    Raises:
        FileRefused: the dates contradict each other, or can be read in two ways.
    """
    day_first, month_first, any_date = examples
    if day_first and month_first:
        raise FileRefused(
            f"{file} writes dates in two ways, {day_first!r} and {month_first!r}. "
            "Write times as 2026-03-01T10:00:00Z, and run the command again."
        )
    if any_date and not day_first and not month_first:
        raise FileRefused(
            f"{file} has dates such as {any_date!r}, and no day above 12 shows whether the day or the month comes first. "
            "Write times as 2026-03-01T10:00:00Z, and run the command again."
        )
    return bool(day_first)
