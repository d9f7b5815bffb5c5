-- A view, because which sessions of an hour are kept depends on the other sessions of that hour:
-- in an incremental table, a late event would change rows of other clients. Export reads the window anyway.
{{ config(materialized='view') }}

with sessions as (
    select
        shop_id,
        session_key,
        max(network_key) as network_key,
        floor(max(received_at_ms) / 3600000) as hour,
        floor(max(received_at_ms) / 86400000) as day
    from {{ ref('training_interactions') }}
    where network_key is not null
    group by shop_id, session_key
),

network_days as (
    select
        shop_id,
        network_key,
        day,
        count(*) as sessions
    from sessions
    group by shop_id, network_key, day
),

shares as (
    select
        shop_id,
        network_key,
        sessions / sum(sessions) over (partition by shop_id, day) as share
    from network_days
),

shop_days as (
    select
        shop_id,
        count(distinct day) as days
    from network_days
    group by shop_id
),

-- The share of the sessions that a network reaches on more than half of the shop's days.
usual as (
    select
        shares.shop_id,
        shares.network_key,
        shares.share
    from shares
    inner join shop_days on shares.shop_id = shop_days.shop_id
    qualify
        row_number() over (partition by shares.shop_id, shares.network_key order by shares.share desc)
        = floor(shop_days.days / 2) + 1
),

-- By time of receipt, because the sender cannot choose it. The key's order is as good as random.
numbered_in_hours as (
    select
        *,
        count(*) over (partition by shop_id, hour) as sessions_in_hour,
        count(*) over (partition by shop_id, day) as sessions_in_day,
        row_number() over (partition by shop_id, network_key, hour order by session_key) as number_in_hour
    from sessions
),

numbered as (
    select
        *,
        row_number() over (
            partition by shop_id, network_key, day order by number_in_hour, session_key
        ) as number_in_day
    from numbered_in_hours
),

dropped as (
    select numbered.session_key
    from numbered
    left join usual
        on
            numbered.shop_id = usual.shop_id
            and numbered.network_key = usual.network_key
    where
        numbered.number_in_hour > greatest(
            {{ var('network_sessions_per_hour') }}, 2 * coalesce(usual.share, 0) * numbered.sessions_in_hour
        )
        or numbered.number_in_day > greatest(
            {{ var('network_sessions_per_day') }}, 2 * coalesce(usual.share, 0) * numbered.sessions_in_day
        )
)

select
    interactions.shop_id,
    interactions.session_key,
    interactions.position_in_sample as position,
    interactions.item_id,
    interactions.event_name,
    interactions.event_time_ms,
    interactions.network_key,
    interactions.client_key
from {{ ref('training_interactions') }} as interactions
left join dropped on interactions.session_key = dropped.session_key
where
    dropped.session_key is null
    and interactions.position_in_sample is not null
