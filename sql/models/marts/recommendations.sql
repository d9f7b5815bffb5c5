-- Recommendations with new touches are rebuilt, and so are those that share an order line with them.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='recommendation_key',
    on_schema_change='fail'
) }}

with valid_touches as (
    select * from {{ ref('int_touches') }}
    where verdict = 'valid'
),

{% if is_incremental() %}
new_touches as (
    select
        recommendation_key,
        order_line_key
    from valid_touches
    where
        staged_at > (
            select coalesce(max(done.staged_at), '1970-01-01'::timestamp_ntz) from {{ this }} as done
        )
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

counted as (
    select
        valid_touches.*,
        first_reports.touch_key is not null as is_bought
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
    max(staged_at) as staged_at
from counted
group by recommendation_key, shop_id, recommendation_id
