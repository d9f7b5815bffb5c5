-- Recommendations with new touches are rebuilt, and so are those that share an order line with them.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='recommendation_key',
    on_schema_change='fail',
    cluster_by=['issued_on'],
    meta={'day': 'issued_on'},
    post_hook="{{ record_progress(ref('int_touches')) }}"
) }}

with valid_touches as (
    select * from {{ ref('int_touches') }}
    where
        verdict = 'valid'
        and {{ among('day', touch_days()) if is_incremental() else "true" }}
),

{% if is_incremental() %}
new_touches as (
    select
        recommendation_key,
        order_line_key
    from valid_touches
    where staged_at > {{ watermark() }}
),

changed as (
    select recommendation_key
    from new_touches
    union distinct
    select valid_touches.recommendation_key
    from valid_touches
    inner join new_touches on valid_touches.order_line_key = new_touches.order_line_key
),
{% endif %}

-- An order line counts for one recommendation: the one of its first report.
first_reports as (
    select touch_key
    from valid_touches
    where order_line_key is not null
    qualify row_number() over (partition by order_line_key order by event_time_ms, event_key) = 1
),

-- A page can claim any number of orders with one receipt, so a receipt counts each of its items in one order.
counted as (
    select
        valid_touches.*,
        first_reports.touch_key is not null
        and row_number() over (
            partition by valid_touches.recommendation_key, valid_touches.item_id
            order by
                iff(first_reports.touch_key is null, 1, 0),
                valid_touches.event_time_ms,
                valid_touches.event_key
        ) = 1 as is_bought
    from valid_touches
    left join first_reports on valid_touches.touch_key = first_reports.touch_key
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
    min(issued_at_ms) as issued_at_ms,
    to_timestamp_ntz(min(issued_at_ms), 3)::date as issued_on,
    -- Distinct items: a view or a click that is reported twice counts once.
    count(distinct iff(event_name = 'recommendation_impression', item_id, null))::int as items_shown,
    count(distinct iff(event_name = 'recommendation_click', item_id, null))::int as items_clicked,
    count(distinct iff(event_name = 'add_to_cart', item_id, null))::int as items_carted,
    count(distinct iff(is_bought, item_id, null))::int as items_bought,
    coalesce(sum(iff(is_bought, revenue, 0)), 0)::float as revenue,
    {% if is_incremental() %}
    -- A recommendation that loses an order line has no new touch. Later models must find it too.
    {{ newest(ref('int_touches')) }} as staged_at
    {% else %}
    max(staged_at) as staged_at
    {% endif %}
from counted
group by recommendation_key, shop_id, recommendation_id
