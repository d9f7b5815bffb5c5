-- depends_on: {{ ref('int_order_reports') }}, {{ ref('int_shop_currencies') }}
-- Recommendations with new touches are rebuilt, and so are those with a touch of a changed order.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='recommendation_key',
    on_schema_change='fail',
    cluster_by=['issued_on'],
    meta={'day': 'issued_on'},
    post_hook="{{ record_progress(ref('int_touches'), also=ref('int_order_reports')) }}"
) }}
{%- set days = touch_days() if is_incremental() else [] %}

with valid_touches as (
    select * from {{ ref('int_touches') }}
    where
        verdict = 'valid'
        and {{ among('day', days) if is_incremental() else "true" }}
),

credited_lines as (
    select * from {{ ref('int_credited_lines') }}
    {% if is_incremental() %}
    -- A valid touch is at most a day away from its recommendation.
    where {{ among('event_date', around(days, 1)) }}
    {% endif %}
),

{% if is_incremental() %}
changed as (
    select recommendation_key
    from valid_touches
    where
        staged_at > {{ watermark() }}
        or order_key in ({{ touched_orders() }})
),
{% endif %}

counted as (
    {{ counted_touches() }}
    {% if is_incremental() %}
    where valid_touches.recommendation_key in (select changed.recommendation_key from changed)
    {% endif %}
)

select
    recommendation_key,
    shop_id,
    recommendation_id,
    min(model_version) as model_version,
    min(variant) as variant,
    min(placement) as placement,
    min(issued_at_ms) as issued_at_ms,
    to_timestamp_ntz(min(issued_at_ms), 3)::date as issued_on,
    -- Distinct items: a view or a click that is reported twice counts once.
    count(distinct iff(event_name = 'recommendation_impression', item_id, null))::int as items_shown,
    count(distinct iff(event_name = 'recommendation_click', item_id, null))::int as items_clicked,
    count(
        distinct iff(event_name = 'recommendation_impression' and is_explored, item_id, null)
    )::int as explored_shown,
    count(
        distinct iff(event_name = 'recommendation_click' and is_explored, item_id, null)
    )::int as explored_clicked,
    count(distinct iff(event_name = 'add_to_cart', item_id, null))::int as items_carted,
    count(distinct iff(is_bought, item_id, null))::int as items_bought,
    sum(iff(is_bought, revenue, 0))::float as revenue,
    sum(iff(is_bought, confirmed_revenue, 0))::float as confirmed_revenue,
    sum(iff(is_bought, revenue - confirmed_revenue, 0))::float as claimed_revenue,
    {% if is_incremental() %}
    -- A recommendation that loses an order line has no new touch. Later models must find it too.
    {{ newest(ref('int_touches'), ref('int_order_reports')) }} as staged_at
    {% else %}
    max(staged_at) as staged_at
    {% endif %}
from counted
group by recommendation_key, shop_id, recommendation_id
