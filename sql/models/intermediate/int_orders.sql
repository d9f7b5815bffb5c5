-- Changed orders are replaced, with their refunds.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='order_key',
    on_schema_change='fail',
    cluster_by=['order_date'],
    meta={'day': 'order_date', 'days': 'order_days', 'keys': 'changed_orders'},
    post_hook="{{ record_progress(ref('int_order_reports'), also=ref('int_shop_currencies')) }}"
) }}
{%- set days = order_days() if is_incremental() else [] %}

with lines as (
    select
        *,
        -- Of an order in two currencies, the reports in one count.
        min(currency) over (partition by order_key) as order_currency
    from {{ ref('int_order_lines') }}
    {% if is_incremental() %}
    where
        {{ among('order_date', days) }}
        and order_key in ({{ changed_orders() }})
    {% endif %}
),

-- A report of new lines adds its total. Of a report that repeats lines, only the new ones add up.
reports as (
    select
        order_key,
        report_key,
        report_value,
        coalesce(sum(line_value), 0) as lines_value,
        iff(
            report_value is not null and count(*) >= report_lines,
            report_value,
            coalesce(sum(line_value), 0)
        ) as amount
    from lines
    where has_money and coalesce(currency, order_currency, '') = coalesce(order_currency, '')
    group by order_key, report_key, report_value, report_lines
),

amounts as (
    select
        order_key,
        -- Some shops repeat the order's total in each row. It counts once if that is nearer to the lines.
        greatest(
            iff(
                count(*) > 1
                and count(report_value) = count(*)
                and min(report_value) = max(report_value)
                and sum(lines_value) > 0
                and abs(max(report_value) - sum(lines_value)) < abs(sum(amount) - sum(lines_value)),
                max(report_value),
                sum(amount)
            ),
            0
        )::float as amount
    from reports
    group by order_key
),

orders as (
    select
        lines.order_key,
        lines.shop_id,
        lines.transaction_id,
        lines.client_key,
        lines.order_event_key as event_key,
        lines.order_time_ms,
        lines.order_date,
        lines.is_trusted,
        lines.order_currency as currency,
        count(lines.item_id) as item_lines,
        max(lines.staged_at) as staged_at
    from lines
    group by
        lines.order_key, lines.shop_id, lines.transaction_id, lines.client_key, lines.order_event_key,
        lines.order_time_ms, lines.order_date, lines.is_trusted, lines.order_currency
),

priced as (
    select
        orders.*,
        coalesce(amounts.amount, 0)::float as amount,
        coalesce(orders.currency, shops.currency, '') = coalesce(shops.currency, '') as is_shop_currency
    from orders
    left join amounts on orders.order_key = amounts.order_key
    left join {{ ref('int_shop_currencies') }} as shops on orders.shop_id = shops.shop_id
),

-- Whoever may not report the order may not refund it: a page cannot refund what the back end sold.
refunds as (
    select
        reports.event_key,
        reports.order_key,
        reports.items,
        reports.received_at_ms,
        iff(
            coalesce(reports.currency, priced.currency, '') = coalesce(priced.currency, ''),
            abs(reports.value),
            null
        ) as value,
        coalesce(array_size(reports.items), 0) > 0 as has_items,
        priced.amount as order_amount,
        priced.item_lines
    from {{ ref('int_order_reports') }} as reports
    inner join priced on reports.order_key = priced.order_key
    where
        reports.event_name = 'refund'
        and (reports.is_trusted or (not priced.is_trusted and reports.client_key = priced.client_key))
        {% if is_incremental() %}
        and {{ among('reports.event_date', days) }}
        {% endif %}
),

returned_items as (
    select
        refunds.event_key,
        refunds.order_key,
        refunds.received_at_ms,
        item.value:item_id::varchar as item_id,
        max(item.value:price::float) as price,
        sum(coalesce(item.value:quantity::int, 1)) as units
    from refunds,
        lateral flatten(input => refunds.items) as item
    group by refunds.event_key, refunds.order_key, refunds.received_at_ms, item_id
),

returned_before as (
    select
        *,
        coalesce(
            sum(units) over (
                partition by order_key, item_id order by received_at_ms, event_key
                rows between unbounded preceding and 1 preceding
            ), 0
        ) as units_before
    from returned_items
),

ordered_items as (
    select
        order_key,
        item_id,
        sum(quantity) as units,
        sum(line_value) / nullif(sum(quantity), 0) as unit_price
    from lines
    where item_id is not null
    group by order_key, item_id
),

-- An item is returned at most as often as it was ordered, so a repeated refund adds nothing.
returned as (
    select
        back.event_key,
        sum(greatest(least(back.units, ordered_items.units - back.units_before), 0)) as units,
        sum(
            greatest(least(back.units, ordered_items.units - back.units_before), 0)
            * coalesce(ordered_items.unit_price, back.price, 0)
        ) as amount
    from returned_before as back
    inner join ordered_items
        on
            back.order_key = ordered_items.order_key
            and back.item_id = ordered_items.item_id
    group by back.event_key
),

refunded as (
    select
        refunds.order_key,
        sum(
            case
                when not refunds.has_items then coalesce(refunds.value, refunds.order_amount)
                when refunds.item_lines = 0 then coalesce(refunds.value, 0)
                else iff(returned.units > 0, coalesce(refunds.value, returned.amount), 0)
            end
        ) as amount
    from refunds
    left join returned on refunds.event_key = returned.event_key
    group by refunds.order_key
)

select
    priced.order_key,
    priced.shop_id,
    priced.transaction_id,
    priced.client_key,
    priced.event_key,
    priced.order_time_ms,
    priced.order_date,
    priced.is_trusted,
    priced.currency,
    priced.is_shop_currency,
    priced.amount,
    iff(priced.is_shop_currency, priced.amount, 0)::float as revenue,
    iff(priced.is_shop_currency and priced.is_trusted, priced.amount, 0)::float as confirmed_revenue,
    iff(priced.is_shop_currency and not priced.is_trusted, priced.amount, 0)::float as claimed_revenue,
    iff(
        priced.is_shop_currency, least(coalesce(refunded.amount, 0), priced.amount), 0
    )::float as refunds,
    priced.staged_at
from priced
left join refunded on priced.order_key = refunded.order_key
