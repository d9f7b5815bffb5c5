-- depends_on: {{ ref('int_order_reports') }}, {{ ref('int_shop_currencies') }}
-- An item of an order counts for one recommendation. Touched orders are replaced.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='order_key',
    on_schema_change='fail',
    cluster_by=['event_date'],
    meta={'day': 'event_date', 'days': 'touched_order_days', 'keys': 'touched_orders'},
    post_hook="{{ record_progress(ref('int_touches'), also=ref('int_order_reports')) }}"
) }}
{%- set days = touched_order_days() if is_incremental() else [] %}

with touches as (
    select * from {{ ref('int_touches') }}
    where
        verdict = 'valid'
        and order_key is not null
        and {{ of_touched_orders('day', around(days, 1)) if is_incremental() else "true" }}
),

order_items as (
    select
        order_key,
        item_id,
        client_key,
        sum(line_value) as amount,
        sum(iff(line_value is null, 0, quantity)) as units
    from {{ ref('int_order_lines') }}
    where
        item_id is not null
        and {{ of_touched_orders('order_date', days) if is_incremental() else "true" }}
    group by order_key, item_id, client_key
)

select
    {{ key(['touches.order_key', 'touches.item_id']) }} as credited_line_key,
    touches.touch_key,
    touches.shop_id,
    touches.order_key,
    touches.item_id,
    touches.event_date,
    iff(orders.is_shop_currency, coalesce(order_items.amount, 0), 0)::float as revenue,
    iff(
        orders.is_shop_currency and orders.is_trusted, coalesce(order_items.amount, 0), 0
    )::float as confirmed_revenue,
    iff(orders.is_shop_currency, coalesce(order_items.units, 0), 0)::int as units,
    {% if is_incremental() %}
    {{ newest(ref('int_touches'), ref('int_order_reports')) }} as staged_at
    {% else %}
    greatest(touches.staged_at, orders.staged_at) as staged_at
    {% endif %}
from touches
inner join order_items
    on
        touches.order_key = order_items.order_key
        and touches.item_id = order_items.item_id
inner join {{ ref('int_orders') }} as orders
    on
        touches.order_key = orders.order_key
        {% if is_incremental() %}
        and {{ among('orders.order_date', days) }}
        {% endif %}
-- The order's own client first: a stranger that names the order takes no credit from it.
qualify
    row_number() over (
        partition by touches.order_key, touches.item_id
        order by
            iff(touches.client_key = order_items.client_key, 0, 1), touches.event_time_ms, touches.event_key
    ) = 1
