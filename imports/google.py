"""SQL that turns rows of Google Analytics 4's BigQuery export into events.

The schema: https://support.google.com/analytics/answer/7029846
"""

import json
from typing import Any

import contracts
from functions.platform.errors import Reason
from imports.own_rows import ORDERED, REQUIRES_ITEMS, RETURNED
from imports.values import (
    AMOUNT_MAX,
    AMOUNT_MIN,
    CURRENCY_PATTERN,
    EARLIEST_MS,
    LATEST_MS,
    QUANTITY_MAX,
    QUANTITY_MIN,
    any_of,
    free_text,
    given,
    given_trimmed,
    is_id,
    json_fields,
    json_object,
    literal,
    masked,
    short_id,
    trimmed,
)

_SCHEMA = contracts.read("event.schema")
ITEMS_MAX = int(_SCHEMA["properties"]["items"]["maxItems"])
ADDRESS_MAX = int(_SCHEMA["definitions"]["address"]["maxLength"])
EVENT_NAMES = contracts.event_kinds()

ITEM_TEXTS = (
    "item_id",
    "item_name",
    "item_brand",
    *(f"item_category{level}" for level in ("", "2", "3", "4", "5")),
    "item_list_id",
)
# What an event is made of; other columns of the export are not read.
COLUMNS: dict[str, Any] = {
    "event_name": "VARCHAR",
    "event_timestamp": "BIGINT",
    "user_pseudo_id": "VARCHAR",
    "user_id": "VARCHAR",
    "stream_id": "VARCHAR",
    "event_bundle_sequence_id": "BIGINT",
    "batch_event_index": "BIGINT",
    "batch_ordering_id": "BIGINT",
    "event_params": [
        {
            "key": "VARCHAR",
            "value": {
                "string_value": "VARCHAR",
                "int_value": "BIGINT",
                "float_value": "DOUBLE",
                "double_value": "DOUBLE",
            },
        }
    ],
    "items": [{**dict.fromkeys(ITEM_TEXTS, "VARCHAR"), "price": "DOUBLE", "quantity": "BIGINT"}],
    "ecommerce": {"transaction_id": "VARCHAR", "purchase_revenue": "DOUBLE", "refund_value": "DOUBLE"},
}
LOST = ("items", "price", "quantity", "value", "currency")


def of_parquet(source: str, names: list[str]) -> str:
    """Return a query of the export's columns; `source` is a parquet file with file_row_number."""
    columns = [
        f'cast("{name}" as {_type(kind)}) as {name}' if name in names else f"null::{_type(kind)} as {name}"
        for name, kind in COLUMNS.items()
    ]
    return f"select file_row_number + 1 as line, {', '.join(columns)} from {source}"


def of_json(source: str) -> str:
    """Return a query of the export's columns; `source` has a line number and valid JSON."""
    columns = ", ".join(f"record.{name}" for name in COLUMNS)
    # BigQuery writes 64-bit integers as JSON strings, which this reads too.
    return f"""select line, {columns} from (
        select line, json_transform(text, {literal(json.dumps(COLUMNS))}) as record from {source})"""


def _type(kind: Any) -> str:
    """Return the SQL type of a shape."""
    if isinstance(kind, list):
        return f"{_type(kind[0])}[]"
    if isinstance(kind, dict):
        return "struct(" + ", ".join(f"{name} {_type(inner)}" for name, inner in kind.items()) + ")"
    return str(kind)


def parsed(source: str, shop: str, now_ms: int | None) -> str:
    """Return a query of checked values, the counts of what was left out, and for bad rows the code and the sentence."""
    text = "value.string_value"
    amount = f"""case when event_name = '{ORDERED}' then
            coalesce(ecommerce.purchase_revenue, {_param("value", "number")})
        when event_name = '{RETURNED}' then coalesce(ecommerce.refund_value, {_param("value", "number")})
        else {_param("value", "number")} end"""
    return f"""
        with typed as (
            select
                line,
                {_known_name()} as event_name,
                {_known_name()} as name,
                {masked(given("user_pseudo_id"), "masked_person_id")} as client_id,
                {masked(given("user_id"), "masked_person_id")} as user_id,
                event_timestamp,
                round(event_timestamp / 1000)::bigint as happened_ms,
                coalesce({_param("ga_session_id", "value.int_value::varchar")},
                    {masked(_param("ga_session_id", text), "masked_person_id")}) as session,
                {given(_param("page_location", text))} as page_location,
                {given(_param("page_referrer", text))} as page_referrer,
                {given(_param("search_term", text))} as search_term,
                {masked(given(f"coalesce({_param('item_list_id', text)}, items[1].item_list_id)"), "masked_id")}
                    as item_list_id,
                {masked(given(f"coalesce(ecommerce.transaction_id, {_param('transaction_id', text)})"), "masked_id")}
                    as transaction_id,
                {given(f"upper({_param('currency', text)})")} as currency,
                {amount} as read_value,
                list_transform(coalesce(items, []), lambda item: {_trimmed_item()}) as all_items,
                concat_ws(
                    chr(31), {literal(f"google/{shop}")}, coalesce({masked("user_pseudo_id", "masked_person_id")}, ''),
                    coalesce(event_timestamp::varchar, ''),
                    coalesce(event_name, ''), coalesce(stream_id, ''), coalesce(event_bundle_sequence_id::varchar, ''),
                    coalesce(batch_event_index::varchar, ''), coalesce(batch_ordering_id::varchar, ''),
                    coalesce({masked("ecommerce.transaction_id", "masked_id")}, ''), coalesce(to_json(items)::varchar, '')
                ) as identity
            from {source}
        ),
        chosen as (
            select
                *,
                list_filter(all_items, lambda item: {is_id(given_trimmed("item.item_id"))}) as good_items,
                case when read_value between {AMOUNT_MIN} and {AMOUNT_MAX} then read_value end as value
            from typed
        )
        select
            *,
            len(all_items) > least(len(good_items), {ITEMS_MAX}) as lost_items,
            len(list_filter(good_items, lambda item: item.price is not null
                and not coalesce({_price_fits()}, false))) > 0 as lost_price,
            len(list_filter(good_items, lambda item: item.quantity is not null
                and not item.quantity between {QUANTITY_MIN} and {QUANTITY_MAX})) > 0 as lost_quantity,
            read_value is not null and value is null as lost_value,
            currency is not null and not regexp_full_match(currency, {literal(CURRENCY_PATTERN)}) as lost_currency,
            {_case([(condition, literal(code)) for condition, code, _ in _problems(now_ms)])} as code,
            {_case([(condition, sentence) for condition, _, sentence in _problems(now_ms)])} as sentence
        from chosen
    """


def _known_name() -> str:
    other = [
        (f"event_name = {literal(name)}", literal(kind)) for name, kind in contracts.also_named().items()
    ]
    return _case([*other, ("true", given("event_name"))])


def _param(key: str, value: str) -> str:
    if value == "number":
        value = "coalesce(value.double_value, value.float_value, value.int_value::double)"
    found = f"list_filter(event_params, lambda entry: entry.key = {literal(key)})[1]"
    return value.replace("value.", f"{found}.value.")


def _trimmed_item() -> str:
    """Return SQL for an item with trimmed texts, so that a later step need not trim a text each time it is named."""
    texts = ", ".join(f"{name} := {trimmed(f'item.{name}')}" for name in ITEM_TEXTS)
    return f"struct_pack({texts}, price := item.price, quantity := item.quantity)"


def _price_fits() -> str:
    return f"item.price between {AMOUNT_MIN} and {AMOUNT_MAX}"


def _case(cases: list[tuple[str, str]]) -> str:
    return "case " + " ".join(f"when {condition} then {value}" for condition, value in cases) + " end"


def _problems(now_ms: int | None) -> list[tuple[str, Reason, str]]:
    required = {
        "event_name": "event_name",
        "user_pseudo_id": "client_id",
        "event_timestamp": "event_timestamp",
    }
    nothing = " or ".join(f"{column} is null" for column in required.values())
    listed = ", ".join(f"case when {column} is null then '{name}' end" for name, column in required.items())
    problems = [
        (nothing, Reason.FIELD_MISSING, f"concat_ws(', ', {listed}) || ' is empty'"),
        (
            f"event_name not in {any_of(EVENT_NAMES)}",
            Reason.UNKNOWN_EVENT_NAME,
            "'event_name is unknown: ''' || left(event_name, 40) || ''''",
        ),
        (
            f"happened_ms not between {EARLIEST_MS} and {LATEST_MS}",
            Reason.FIELD_INVALID,
            "'event_timestamp is not between 2000 and 2100: ' || event_timestamp::varchar",
        ),
        (
            f"len(good_items) = 0 and event_name in {any_of(REQUIRES_ITEMS)}",
            Reason.FIELD_MISSING,
            "'items has no item with a valid item_id'",
        ),
    ]
    if now_ms is not None:
        problems.append(
            (
                f"happened_ms > {now_ms}",
                Reason.CLIENT_TIME_IN_FUTURE,
                "'event_timestamp lies in the future: ' || event_timestamp::varchar",
            )
        )
    return problems


def rejected(source: str) -> str:
    """Return a query of the bad rows: line, code, sentence, and what identifies the row."""
    return f"""
        select line, code, sentence, to_json(struct_pack(
            event_name := event_name, event_timestamp := event_timestamp, user_pseudo_id := client_id,
            transaction_id := transaction_id, items := len(all_items)))::varchar as text
        from {source} where code is not null
    """


def accepted(source: str) -> str:
    """Return a query of the good rows, with the JSON of their items and of their optional fields."""
    categories = "concat_ws('/', " + (
        ", ".join(given_trimmed(f"item.item_category{n}") for n in ("", "2", "3", "4", "5")) + ")"
    )
    item = json_object(
        ("item_id", f"to_json({given_trimmed('item.item_id')})"),
        ("item_name", f"to_json({free_text(given_trimmed('item.item_name'))})"),
        ("item_category", f"to_json({free_text(categories)})"),
        ("item_brand", f"to_json({free_text(given_trimmed('item.item_brand'))})"),
        ("price", f"case when {_price_fits()} then item.price end"),
        (
            "quantity",
            f"case when item.quantity between {QUANTITY_MIN} and {QUANTITY_MAX} then item.quantity end",
        ),
    )
    address = f"left(split_part(split_part(page_location, '#', 1), '?', 1), {ADDRESS_MAX})"
    address = masked("page_location", "masked_address", address)
    currency = f"case when regexp_full_match(currency, {literal(CURRENCY_PATTERN)}) then currency end"
    fields = json_fields(
        ("page_location", f"to_json({address})"),
        ("page_referrer", f"to_json({address.replace('page_location', 'page_referrer')})"),
        ("search_term", f"to_json({free_text('search_term', 'masked_text')})"),
        ("item_list_id", f"to_json({short_id('item_list_id')})"),
        ("user_id", f"to_json({short_id('user_id')})"),
        ("transaction_id", f"to_json({short_id('transaction_id')})"),
        ("currency", f"to_json({currency})"),
    )
    return f"""
        select
            line,
            left(sha1(identity), 32) as event_id,
            false as has_id,
            event_name,
            {short_id("client_id")} as client_id,
            {short_id("coalesce(session, client_id)")} as session_id,
            happened_ms as client_time_ms,
            array_to_string(list_transform(good_items[1:{ITEMS_MAX}], lambda item: {item}), ',') as items,
            {fields} as fields,
            value,
            null::varchar as order_id
        from {source} where code is null
    """


def counts(source: str) -> str:
    """Return a query of the number of rows, of bad ones, and of rows that lost something per field."""
    lost = ", ".join(f"count(*) filter (where lost_{name} and code is null)" for name in LOST)
    return f"select count(*), count(*) filter (where code is not null), {lost} from {source}"
