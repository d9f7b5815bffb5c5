-- depends_on: {{ ref('int_shop_currencies') }}
-- One definition of an order: which of its reports count, and what each adds. Changed orders are replaced.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='order_key',
    on_schema_change='fail',
    cluster_by=['order_date'],
    meta={'day': 'order_date', 'days': 'order_days', 'keys': 'changed_orders'},
    post_hook="{{ record_progress(ref('int_order_reports'), also=ref('int_shop_currencies')) }}"
) }}

with reports as (
    select * from {{ ref('int_order_reports') }}
    where
        event_name = 'purchase'
        {% if is_incremental() %}
        and {{ among('event_date', order_days()) }}
        and order_key in ({{ changed_orders() }})
        {% endif %}
),

reported_items as (
    select
        reports.event_key,
        item.index::int as item_index,
        item.value:item_id::varchar as item_id,
        item.value:price::float as price,
        coalesce(item.value:quantity::int, 1) as quantity
    from reports,
        lateral flatten(input => reports.items) as item
    where item.value:item_id::varchar is not null
),

report_sizes as (
    select
        event_key,
        count(*)::int as report_lines
    from reported_items
    group by event_key
),

-- The shop's back end outranks every page, and a page with the order's items outranks one without.
-- Of equals, the first counts.
sent as (
    select
        reports.*,
        coalesce(report_sizes.report_lines, 0)::int as report_lines,
        max(iff(reports.is_trusted, 1, 0)) over (partition by reports.order_key) = 1 as has_trusted,
        first_value(reports.client_key) over (
            partition by reports.order_key
            order by
                iff(reports.is_trusted, 0, 1), iff(report_sizes.report_lines > 0, 0, 1),
                reports.received_at_ms, reports.event_time_ms, reports.event_key
        ) as order_client_key
    from reports
    left join report_sizes on reports.event_key = report_sizes.event_key
),

-- Money comes from the back end, from all of its reports, or else from the pages of one client.
weighed as (
    select
        *,
        client_key = order_client_key as is_own,
        iff(has_trusted, is_trusted, client_key = order_client_key) as has_money
    from sent
),

judged as (
    select
        *,
        max(iff(has_money and report_lines > 0, 1, 0)) over (partition by order_key) = 1 as has_priced_items,
        max(staged_at) over (partition by order_key) as order_staged_at,
        first_value(event_key) over (
            partition by order_key order by iff(is_own, 0, 1), event_time_ms, event_key
        ) as order_event_key,
        first_value(event_time_ms) over (
            partition by order_key order by iff(is_own, 0, 1), event_time_ms, event_key
        ) as order_time_ms
    from weighed
),

lines as (
    select
        judged.*,
        reported_items.item_id,
        reported_items.price,
        reported_items.quantity,
        -- An order can list an item twice, for example in two sizes.
        row_number() over (
            partition by
                judged.event_key, reported_items.item_id, reported_items.price, reported_items.quantity
            order by reported_items.item_index
        ) as copy_number
    from judged
    left join reported_items on judged.event_key = reported_items.event_key
),

-- Where an item of the order was first bought, for sessions and training.
first_places as (
    select
        order_key,
        item_id,
        event_key as item_event_key,
        event_time_ms as item_time_ms
    from lines
    where is_own and item_id is not null
    qualify row_number() over (partition by order_key, item_id order by event_time_ms, event_key) = 1
),

-- The same line of another report is a repeat, such as a reloaded page or the same order in the next session.
-- Different lines are parts of one order, such as its rows or its shipments.
distinct_lines as (
    select *
    from lines
    where
        iff(has_priced_items or report_lines = 0, has_money, is_own)
        and (report_lines > 0 or not has_priced_items)
    qualify
        row_number() over (
            partition by order_key, item_id, price, quantity, copy_number
            order by received_at_ms, event_time_ms, event_key
        ) = 1
        -- A report without prices adds no line to one with prices.
        and (price is not null or max(price) over (partition by order_key, item_id) is null)
)

select
    {{ key(["lines.order_key", "coalesce(lines.item_id, '')", "coalesce(lines.price::varchar, '')",
        "coalesce(lines.quantity::varchar, '')", "lines.copy_number::varchar"]) }} as order_line_key,
    lines.order_key,
    lines.shop_id,
    lines.transaction_id,
    lines.order_client_key as client_key,
    lines.item_id,
    lines.price,
    lines.quantity,
    (lines.price * lines.quantity)::float as line_value,
    coalesce(first_places.item_event_key, lines.event_key) as item_event_key,
    coalesce(first_places.item_time_ms, lines.event_time_ms) as item_time_ms,
    lines.event_key as report_key,
    lines.value as report_value,
    lines.report_lines,
    lines.currency,
    lines.has_money,
    lines.has_trusted as is_trusted,
    lines.order_event_key,
    lines.order_time_ms,
    to_timestamp_ntz(lines.order_time_ms, 3)::date as order_date,
    lines.order_staged_at as staged_at
from distinct_lines as lines
left join first_places
    on
        lines.order_key = first_places.order_key
        and lines.item_id = first_places.item_id
