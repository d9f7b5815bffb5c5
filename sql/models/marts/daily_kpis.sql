-- depends_on: {{ ref('int_session_events') }}
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    meta={'day': 'day', 'days': 'started_days'},
    post_hook="{{ record_progress(ref('sessions')) }}"
) }}

with sessions as (
    select * from {{ ref('sessions') }}
    {% if is_incremental() %}
    where {{ among('started_on', started_days()) }}
    {% endif %}
)

select
    {{ key(['shop_id', 'started_on::varchar']) }} as daily_kpi_key,
    shop_id,
    started_on as day,
    count(*)::int as sessions,
    count(distinct client_key)::int as clients,
    sum(events)::int as events,
    sum(item_views)::int as item_views,
    sum(carts)::int as carts,
    sum(purchases)::int as purchases,
    sum(revenue)::float as revenue,
    sum(confirmed_revenue)::float as confirmed_revenue,
    sum(claimed_revenue)::float as claimed_revenue,
    sum(refunds)::float as refunds,
    sum(net_revenue)::float as net_revenue,
    (count_if(purchases > 0) / count(*))::float as conversion_rate,
    sum(recommendation_impressions)::int as recommendation_impressions,
    sum(recommendation_clicks)::int as recommendation_clicks,
    (
        sum(recommendation_clicks) / nullif(sum(recommendation_impressions), 0)
    )::float as recommendation_click_rate,
    min(started_at_ms) as first_event_ms,
    max(ended_at_ms) as last_event_ms,
    max(loaded_at) as loaded_at,
    max(staged_at) as staged_at
from sessions
group by shop_id, started_on
