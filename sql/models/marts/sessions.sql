-- A changed client's sessions near its new events are deleted and inserted again.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='client_key',
    on_schema_change='fail',
    cluster_by=['started_on'],
    meta={'day': 'started_at_ms', 'days': 'session_times', 'keys': 'changed_clients'},
    post_hook="{{ record_progress(ref('int_session_events')) }}"
) }}

with session_events as (
    select * from {{ ref('int_session_events') }}
    {% if is_incremental() %}
    where
        {{ among('session_start_ms', session_times()) }}
        and client_key in ({{ changed_clients() }})
    {% endif %}
),

-- A reloaded confirmation page sends its purchase a second time, under a new event id.
orders as (
    select
        session_key,
        coalesce(transaction_id, event_key) as order_key,
        max(value) as value
    from session_events
    where event_name = 'purchase'
    group by session_key, coalesce(transaction_id, event_key)
),

order_totals as (
    select
        session_key,
        count(*)::int as purchases,
        coalesce(sum(value), 0)::float as revenue
    from orders
    group by session_key
),

totals as (
    select
        session_key,
        client_key,
        shop_id,
        client_id,
        min(event_time_ms) as started_at_ms,
        max(event_time_ms) as ended_at_ms,
        max(user_id) as user_id,
        max_by(device, -event_number) as device,
        count(*)::int as events,
        count_if(event_name = 'page_view')::int as page_views,
        count_if(event_name = 'view_item')::int as item_views,
        count_if(event_name = 'search')::int as searches,
        count_if(event_name = 'add_to_cart')::int as carts,
        count_if(event_name = 'recommendation_impression')::int as recommendation_impressions,
        count_if(event_name = 'recommendation_click')::int as recommendation_clicks,
        max(loaded_at) as loaded_at,
        max(staged_at) as staged_at
    from session_events
    group by session_key, client_key, shop_id, client_id
)

select
    totals.session_key,
    totals.client_key,
    totals.shop_id,
    totals.client_id,
    totals.user_id,
    totals.device,
    totals.started_at_ms,
    totals.ended_at_ms,
    to_timestamp_ntz(totals.started_at_ms, 3)::date as started_on,
    totals.events,
    totals.page_views,
    totals.item_views,
    totals.searches,
    totals.carts,
    coalesce(order_totals.purchases, 0)::int as purchases,
    coalesce(order_totals.revenue, 0)::float as revenue,
    totals.recommendation_impressions,
    totals.recommendation_clicks,
    totals.loaded_at,
    totals.staged_at
from totals
left join order_totals on totals.session_key = order_totals.session_key
