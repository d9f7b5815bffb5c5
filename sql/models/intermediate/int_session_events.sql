-- All rows of a client with new events are deleted and inserted again.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='client_key',
    on_schema_change='fail'
) }}

with events as (
    select * from {{ ref('stg_events') }}
    where
        not is_bot
        {% if is_incremental() %}
        and client_key in ({{ changed_clients(ref('stg_events')) }})
        {% endif %}
),

with_previous as (
    select
        *,
        lag(event_time_ms) over (
            partition by client_key order by event_time_ms, event_key
        ) as previous_time_ms
    from events
),

with_starts as (
    select
        *,
        iff(
            previous_time_ms is null
            or event_time_ms - previous_time_ms > {{ var('session_gap_minutes') }} * 60000,
            1, 0
        ) as starts_session
    from with_previous
),

with_sessions as (
    select
        *,
        sum(starts_session) over (
            partition by client_key order by event_time_ms, event_key
            rows between unbounded preceding and current row
        )::int as session_number
    from with_starts
),

in_sessions as (
    select
        *,
        min(event_time_ms) over (partition by client_key, session_number) as session_start_ms,
        row_number() over (
            partition by client_key, session_number order by event_time_ms, event_key
        ) as event_number
    from with_sessions
)

select
    event_key,
    -- Key by the start, not the number: a late event then renames one session, not all later ones.
    {{ key(['client_key', 'session_start_ms::varchar']) }} as session_key,
    client_key,
    shop_id,
    client_id,
    event_number,
    event_name,
    event_time_ms,
    event_time,
    search_term,
    item_list_id,
    transaction_id,
    value,
    user_id,
    recommendation_id,
    device,
    staged_at
from in_sessions
