-- depends_on: {{ ref('int_order_reports') }}, {{ ref('int_shop_currencies') }}
-- A changed client's sessions near its new events or changed orders are deleted and inserted again.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='client_key',
    on_schema_change='fail',
    cluster_by=['started_on'],
    meta={'day': 'started_at_ms', 'days': 'session_times', 'keys': 'changed_clients'},
    post_hook="{{ record_progress(ref('int_session_events'), also=ref('int_order_reports')) }}"
) }}

with session_events as (
    select * from {{ ref('int_session_events') }}
    {% if is_incremental() %}
    where
        {{ among('session_start_ms', session_times()) }}
        and client_key in ({{ changed_clients() }})
    {% endif %}
),

orders as (
    select * from {{ ref('int_orders') }}
    {% if is_incremental() %}
    where {{ among('order_time_ms', widened(session_times(), session_reach_ms(ref('int_session_events')))) }}
    {% endif %}
),

-- An order counts in the session of its first report. Its repeats elsewhere count nothing.
order_totals as (
    select
        session_events.session_key,
        count(*)::int as purchases,
        sum(orders.revenue)::float as revenue,
        sum(orders.confirmed_revenue)::float as confirmed_revenue,
        sum(orders.claimed_revenue)::float as claimed_revenue,
        sum(orders.refunds)::float as refunds
    from session_events
    inner join orders on session_events.event_key = orders.event_key
    group by session_events.session_key
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
    coalesce(order_totals.confirmed_revenue, 0)::float as confirmed_revenue,
    coalesce(order_totals.claimed_revenue, 0)::float as claimed_revenue,
    coalesce(order_totals.refunds, 0)::float as refunds,
    (coalesce(order_totals.revenue, 0) - coalesce(order_totals.refunds, 0))::float as net_revenue,
    totals.recommendation_impressions,
    totals.recommendation_clicks,
    totals.loaded_at,
    {% if is_incremental() %}
    -- A session that loses an order has no new event. Later models must find it too.
    {{ newest(ref('int_session_events'), ref('int_order_reports')) }} as staged_at
    {% else %}
    totals.staged_at
    {% endif %}
from totals
left join order_totals on totals.session_key = order_totals.session_key
