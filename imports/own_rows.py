"""SQL that turns rows with columns of ours into events, by the rules of the contract.

A required value that is missing or unreadable rejects the row, with the collector's code for it.
An optional value that is unreadable is left out, and counted per column.
"""

import contracts
from functions.platform.errors import Reason
from imports.layouts import OPTIONAL_COLUMNS, OWN_COLUMNS, Layout
from imports.values import (
    AMOUNT_MAX,
    AMOUNT_MIN,
    CURRENCY_PATTERN,
    EARLIEST_MS,
    LATEST_MS,
    QUANTITY_MAX,
    QUANTITY_MIN,
    Marks,
    any_of,
    free_text,
    given_trimmed,
    is_id,
    json_fields,
    json_object,
    literal,
    masked,
    number,
    short_id,
    time_ms,
    trimmed,
)

EVENT_NAMES = contracts.event_kinds()
REQUIRES_ITEMS = contracts.event_kinds("requires_items")
ORDERED, RETURNED = "purchase", "refund"
# Names that public click logs have for the contract's kinds.
ALIASES = {
    **contracts.also_named(),
    **{"view": "view_item", "click": "view_item", "cart": "add_to_cart", "transaction": ORDERED},
}
# Optional columns whose text can be unreadable. Ids and texts are shortened instead.
READ_COLUMNS = ("price", "quantity", "currency")
# Ids are masked first of all, because event ids are digests of the others.
MASKED_IDS = {
    **dict.fromkeys(("client_id", "session_id", "user_id"), "masked_person_id"),
    **dict.fromkeys(("event_id", "transaction_id"), "masked_id"),
}


def cells(layout: Layout, source: str, names: list[str]) -> str:
    """Return a query of our columns as text, null where there is no value; `source` has the file's columns."""
    texts = ", ".join(f"{_text_of(layout, column, names)} as {column}" for column in OWN_COLUMNS)
    # One step per projection: DuckDB computes a value once per projection, and again wherever one refers to it.
    trim = ", ".join(f"{trimmed(column)} as {column}" for column in OWN_COLUMNS)
    given = ", ".join(f"{given_trimmed(column)} as {column}" for column in OWN_COLUMNS)
    ids = ", ".join(f"{masked(column, function)} as {column}" for column, function in MASKED_IDS.items())
    trimmed_cells = f"select line, {trim} from (select line, {texts} from {source})"
    return f"select * replace ({ids}) from (select line, {given} from ({trimmed_cells}))"


def distinct_texts(layout: Layout, column: str, marks: str, source: str, names: list[str]) -> str:
    """Return a query of the distinct texts of a column, named `text`, that contain one of the marks."""
    condition = " or ".join(f"contains(text, {literal(mark)})" for mark in marks)
    texts = f"select distinct {_text_of(layout, column, names)} as text from {source}"
    return f"select trim(text) as text from ({texts}) where {condition}"


def _text_of(layout: Layout, column: str, names: list[str]) -> str:
    expression = layout.columns.get(column, "null")
    for needed in _columns_in(expression):
        if needed not in names:
            expression = expression.replace(f'"{needed}"', "null::varchar")
    return f"({expression})::varchar"


def _columns_in(expression: str) -> list[str]:
    return expression.split('"')[1::2]


def parsed(source: str, marks: Marks, shop: str, dataset: str, now_ms: int | None) -> str:
    """Return a query of typed values, the counts of what was left out, and for bad rows the code and the sentence."""
    aliases = " ".join(f"when {literal(alias)} then {literal(name)}" for alias, name in ALIASES.items())
    name = f"case lower(event_name) {aliases} else lower(event_name) end"
    ordered = f"name in {any_of((ORDERED, RETURNED))}"
    price_min = f"case when {ordered} then {AMOUNT_MIN} else 0 end"
    given_ids = f"concat_ws(chr(31), {literal(f'{dataset}/{shop}')}, {', '.join(_identity())})"
    return f"""
        with typed as (
            select
                * replace (case
                    when currency is null then upper(regexp_extract(price, '(?:^|[^A-Za-z])([A-Za-z]{{3}})\\.?$', 1))
                    else upper(currency) end as currency),
                currency is not null as has_currency,
                {name} as name,
                {time_ms("event_time", marks)} as happened_ms,
                {number("price", marks)} as read_price,
                {number("quantity", marks)} as read_quantity
            from {source}
        ),
        bounded as (
            select
                * replace (
                    case when name = '{ORDERED}' and read_quantity < 0 then '{RETURNED}' else name end as name,
                    case when regexp_full_match(currency, {literal(CURRENCY_PATTERN)}) then currency end as currency
                ),
                has_currency and not regexp_full_match(currency, {literal(CURRENCY_PATTERN)}) as lost_currency,
                case when read_price between {price_min} and {AMOUNT_MAX} then read_price end as amount,
                case
                    when {ordered} and -read_quantity between 1 and {QUANTITY_MAX} and read_quantity = floor(read_quantity)
                        then -read_quantity::bigint
                    when read_quantity between {QUANTITY_MIN} and {QUANTITY_MAX} and read_quantity = floor(read_quantity)
                        then read_quantity::bigint
                end as units,
                name = '{ORDERED}' and read_quantity < 0 as returned
            from typed
        )
        select
            *,
            price is not null and amount is null as lost_price,
            quantity is not null and units is null as lost_quantity,
            case when event_id is not null then {short_id("event_id")} else left(sha1({given_ids}), 32) end as given_id,
            {_code(now_ms)} as code,
            {_sentence(now_ms)} as sentence
        from bounded
    """


def _identity() -> list[str]:
    """Return the values that make a row the same event, however its file writes them."""
    values = ["coalesce(happened_ms::varchar, '')", "coalesce(name, '')"]
    values += ["coalesce(amount::varchar, '')", "coalesce(units::varchar, '')"]
    texts = [column for column in ("item_id", "client_id", *OPTIONAL_COLUMNS) if column not in READ_COLUMNS]
    return values + [f"coalesce({column}, '')" for column in (*texts, "currency")]


def _problems(now_ms: int | None) -> list[tuple[str, Reason, str]]:
    """Return each problem of a row as condition, code and sentence, in the order in which the collector names them."""
    required = ("event_time", "event_name", "client_id")
    nothing = " or ".join(f"{column} is null" for column in required)
    listed = ", ".join(f"case when {column} is null then '{column}' end" for column in required)
    problems = [
        (nothing, Reason.FIELD_MISSING, f"concat_ws(', ', {listed}) || ' is empty'"),
        (
            f"name not in {any_of(EVENT_NAMES)}",
            Reason.UNKNOWN_EVENT_NAME,
            _said("event_name is unknown", "lower(event_name)"),
        ),
        ("happened_ms is null", Reason.FIELD_INVALID, _said("event_time is no time", "event_time")),
        (
            f"happened_ms not between {EARLIEST_MS} and {LATEST_MS}",
            Reason.FIELD_INVALID,
            _said("event_time is not between 2000 and 2100", "event_time"),
        ),
        (
            f"item_id is null and name in {any_of(REQUIRES_ITEMS)}",
            Reason.FIELD_MISSING,
            "'item_id is empty'",
        ),
        (
            f"item_id is not null and not {is_id('item_id')}",
            Reason.FIELD_INVALID,
            _said("item_id is longer than an id may be, or has control characters", "item_id"),
        ),
    ]
    if now_ms is not None:
        problems.append(
            (
                f"happened_ms > {now_ms}",
                Reason.CLIENT_TIME_IN_FUTURE,
                _said("event_time lies in the future", "event_time"),
            )
        )
    return problems


def _said(sentence: str, column: str) -> str:
    return f"'{sentence}: ''' || left({column}, 40) || ''''"


def _code(now_ms: int | None) -> str:
    cases = " ".join(f"when {condition} then {literal(code)}" for condition, code, _ in _problems(now_ms))
    return f"case {cases} end"


def _sentence(now_ms: int | None) -> str:
    cases = " ".join(f"when {condition} then {sentence}" for condition, _, sentence in _problems(now_ms))
    return f"case {cases} end"


def rejected(source: str) -> str:
    """Return a query of the bad rows: line, code, sentence, and the row as a JSON object."""
    columns = ", ".join(f"{column} := {column}" for column in OWN_COLUMNS)
    return f"""
        select line, code, sentence, to_json(struct_pack({columns}))::varchar as text
        from {source} where code is not null
    """


def accepted(source: str) -> str:
    """Return a query of the good rows, with the JSON of their item and of their optional fields."""
    order = f"transaction_id is not null and name in {any_of((ORDERED, RETURNED))}"
    item = json_object(
        ("item_id", "to_json(item_id)"),
        ("item_name", f"to_json({free_text('item_name')})"),
        ("item_category", f"to_json({free_text('category')})"),
        ("item_brand", f"to_json({free_text('brand')})"),
        ("price", "amount"),
        ("quantity", "units"),
    )
    fields = json_fields(
        ("user_id", f"to_json({short_id('user_id')})"),
        ("transaction_id", f"to_json({short_id('transaction_id')})"),
        ("currency", "to_json(currency)"),
    )
    return f"""
        select
            line,
            given_id as event_id,
            event_id is not null as has_id,
            name as event_name,
            {short_id("client_id")} as client_id,
            {short_id("coalesce(session_id, client_id)")} as session_id,
            happened_ms as client_time_ms,
            case when item_id is null then '' else {item} end as items,
            {fields} as fields,
            case when name in {any_of((ORDERED, RETURNED))} then amount * coalesce(units, 1) end as value,
            case when {order} then {short_id("transaction_id")} end as order_id
        from {source} where code is null
    """


def counts(source: str) -> str:
    """Return a query of the number of rows, of bad ones, of returns, and of what was left out per column."""
    lost = ", ".join(f"count(*) filter (where lost_{column} and code is null)" for column in READ_COLUMNS)
    return f"""select count(*), count(*) filter (where code is not null), count(*) filter (where returned and code is null),
        count(*) filter (where code is not null and happened_ms is null and event_time is not null), {lost} from {source}"""
