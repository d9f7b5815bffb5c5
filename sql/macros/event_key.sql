{# Identity of a raw event. Its event_id alone can be guessed: a stranger could send "purchase-1003" before the shop does.
   With the client's id, which only its browser and the shop have, a stranger's event is an event of its own.
   Reports of an order that differ are events of their own too: int_order_lines chooses between them. #}
{% macro event_key() -%}
    md5(
        payload:shop_id::varchar
        || chr(31) || payload:client_id::varchar
        || chr(31) || payload:event_name::varchar
        || chr(31) || payload:event_id::varchar
        || chr(31) || {{ client_day() }}::varchar
        || iff(
            payload:event_name::varchar in {{ order_events() }},
            chr(31) || coalesce(payload:server.trusted::boolean, false)::varchar
            || chr(31) || coalesce(payload:transaction_id::varchar, '')
            || chr(31) || coalesce(payload:value::varchar, '')
            || chr(31) || coalesce(payload:currency::varchar, '')
            || chr(31) || coalesce(payload:items::varchar, ''),
            ''
        )
    )
{%- endmacro %}

{# Identity of an order: the shop and its transaction_id. A purchase without one is an order of its own. #}
{% macro order_key() -%}
    iff(
        trim(transaction_id) != '',
        {{ key(['shop_id', 'trim(transaction_id)']) }},
        {{ key(['shop_id', 'client_id', 'event_id', 'client_day::varchar']) }}
    )
{%- endmacro %}

{# The event kinds that report an order or its refund, as a list for `in`. #}
{% macro order_events() -%}
    ('{{ var("order_events") | join("', '") }}')
{%- endmacro %}
