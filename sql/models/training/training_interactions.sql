{%- set events = var('training_events') %}

with session_events as (
    select * from {{ ref('int_session_events') }}
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
    where event_name in ('{{ events | join("', '") }}')
),

-- After an order, people look at the items that they bought. Learning from that would recommend them again.
first_purchases as (
    select
        session_key,
        min(event_number) as event_number
    from session_events
    where event_name = 'purchase'
    group by session_key
),

touches as (
    select
        session_events.shop_id,
        session_events.session_key,
        session_events.event_number,
        item_events.item_index,
        item_events.item_id,
        item_events.event_name,
        item_events.event_time_ms,
        item_events.strength
    from item_events
    inner join session_events on item_events.event_key = session_events.event_key
    left join first_purchases on session_events.session_key = first_purchases.session_key
    where
        first_purchases.event_number is null
        or session_events.event_number <= first_purchases.event_number
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
        run_number - 1 as position,
        item_id,
        max_by(event_name, strength) as event_name,
        min(event_time_ms) as event_time_ms
    from with_runs
    group by shop_id, session_key, run_number, item_id
)

select
    shop_id,
    session_key,
    position::int as position,
    item_id,
    event_name,
    event_time_ms::bigint as event_time_ms
from interactions
qualify count(*) over (partition by session_key) >= 2
