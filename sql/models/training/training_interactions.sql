-- depends_on: {{ ref('int_order_reports') }}, {{ ref('int_shop_currencies') }}
-- depends_on: {{ ref('daily_kpis') }}
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='client_key',
    on_schema_change='fail',
    cluster_by=['session_date'],
    meta={'day': 'session_start_ms', 'days': 'session_times', 'keys': 'changed_clients'},
    post_hook=[
        "delete from {{ this }} where not {{ in_training_window('shop_id', 'session_date') }}",
        "{{ record_progress(ref('int_session_events'), also=ref('int_order_reports')) }}"
    ]
) }}
{%- set events = var('training_events') %}
{%- set times = session_times() if is_incremental() else [] %}

with session_events as (
    select * from {{ ref('int_session_events') }}
    where
        {{ in_training_window('shop_id', 'session_date') }}
        {% if is_incremental() %}
        and {{ among('session_start_ms', times) }}
        and client_key in ({{ changed_clients() }})
        {% endif %}
),

item_events as (
    select
        *,
        case event_name
            {%- for event in events %}
            when '{{ event }}' then {{ loop.index }}
            {%- endfor %}
        end as strength
    from {{ ref('int_item_events') }}
    where
        event_name in ('{{ events | join("', '") }}')
        {% if is_incremental() %}
        and {{ among('event_time_ms', widened(times, session_reach_ms(ref('int_session_events')))) }}
        {% endif %}
),

-- Where each item of an order was first bought. A repeat of the order elsewhere teaches nothing.
ordered_items as (
    select distinct
        item_event_key,
        item_id,
        order_key
    from {{ ref('int_order_lines') }}
    where
        item_id is not null
        {% if is_incremental() %}
        and {{ among('item_time_ms', widened(times, session_reach_ms(ref('int_session_events')))) }}
        {% endif %}
),

-- After an order, people look at the items that they bought. Learning from that would recommend them again.
first_orders as (
    select
        session_events.session_key,
        session_events.event_number,
        ordered_items.order_key
    from session_events
    left join ordered_items on session_events.event_key = ordered_items.item_event_key
    where session_events.event_name = 'purchase'
    qualify
        row_number() over (
            partition by session_events.session_key
            order by iff(ordered_items.order_key is null, 1, 0), session_events.event_number
        ) = 1
),

-- The sender of a session's first event.
-- A back end with the secret key sends for all shoppers, so it has no network.
senders as (
    select
        session_key,
        iff(is_trusted, null, network_key) as network_key,
        received_at_ms
    from session_events
    where event_number = 1
),

touches as (
    select
        session_events.shop_id,
        session_events.session_key,
        session_events.client_key,
        session_events.session_date,
        session_events.session_start_ms,
        session_events.staged_at,
        session_events.event_number,
        senders.network_key,
        senders.received_at_ms,
        item_events.item_index,
        item_events.item_id,
        item_events.event_name,
        item_events.event_time_ms,
        item_events.strength
    from item_events
    inner join session_events on item_events.event_key = session_events.event_key
    left join senders on session_events.session_key = senders.session_key
    left join ordered_items
        on
            item_events.event_key = ordered_items.item_event_key
            and item_events.item_id = ordered_items.item_id
    left join first_orders on session_events.session_key = first_orders.session_key
    where
        (
            first_orders.event_number is null
            or session_events.event_number <= first_orders.event_number
            -- An order can come as several events, such as one per line.
            or ordered_items.order_key = first_orders.order_key
        )
        and (item_events.event_name != 'purchase' or ordered_items.order_key is not null)
),

with_changes as (
    select
        *,
        iff(
            item_id = lag(item_id) over (partition by session_key order by event_number, item_index), 0, 1
        ) as changes_item
    from touches
),

with_runs as (
    select
        *,
        sum(changes_item) over (
            partition by session_key order by event_number, item_index
            rows between unbounded preceding and current row
        )::int as run_number
    from with_changes
),

-- Viewing an item and putting it into the cart is one interaction, the stronger one.
interactions as (
    select
        shop_id,
        session_key,
        client_key,
        session_date,
        session_start_ms,
        run_number - 1 as position,
        item_id,
        max_by(event_name, strength) as event_name,
        min(event_time_ms) as event_time_ms,
        max(network_key) as network_key,
        max(received_at_ms) as received_at_ms,
        max(staged_at) as staged_at
    from with_runs
    group by shop_id, session_key, client_key, session_date, session_start_ms, run_number, item_id
),

-- One session could repeat a pair of items hundreds of times.
with_visits as (
    select
        *,
        row_number() over (partition by session_key, item_id order by position)
        <= {{ var('visits_of_an_item') }} as is_sampled
    from interactions
)

select
    shop_id,
    session_key,
    position::int as position,
    iff(
        is_sampled,
        count_if(is_sampled) over (
            partition by session_key order by position rows between unbounded preceding and current row
        ) - 1,
        null
    )::int as position_in_sample,
    item_id,
    event_name,
    event_time_ms::bigint as event_time_ms,
    client_key,
    session_date,
    session_start_ms,
    network_key,
    received_at_ms::bigint as received_at_ms,
    max(staged_at) over (partition by session_key) as staged_at
from with_visits
qualify count(*) over (partition by session_key) >= 2
