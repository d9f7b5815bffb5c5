-- Sessions with new events are deleted and inserted again. New events join sessions and never split one.
-- So the events of a session that disappears are in a session with a new event.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_key',
    on_schema_change='fail',
    cluster_by=['session_date'],
    meta={'day': 'session_start_ms', 'days': 'event_times'},
    post_hook="{{ record_progress(ref('stg_events')) }}"
) }}

with events as (
    select * from {{ ref('stg_events') }}
    where
        not is_bot
        {% if is_incremental() %}
        and {{ among('event_time_ms', event_times()) }}
        and client_key in (
            select changed.client_key
            from {{ ref('stg_events') }} as changed
            where changed.staged_at > {{ watermark() }}
        )
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

-- A browser numbers its events, so its sequence is right where its clock was set or a request was late.
-- An event's place is not after that of its successors. Other senders' events are placed by their time.
with_places as (
    select
        *,
        iff(
            sequence is null,
            event_time_ms,
            min(iff(sequence is null, null, event_time_ms)) over (
                partition by client_key, session_number, storefront_session_id
                order by sequence desc, event_time_ms desc, event_key desc
                rows between unbounded preceding and current row
            )
        ) as place_ms
    from with_sessions
),

in_sessions as (
    select
        *,
        min(event_time_ms) over (partition by client_key, session_number) as session_start_ms,
        row_number() over (
            partition by client_key, session_number
            order by place_ms, coalesce(sequence, 0), event_time_ms, event_key
        ) as event_number
    from with_places
    {% if is_incremental() %}
    -- Other sessions of these clients can be incomplete at the ends of the ranges.
    qualify max(staged_at) over (partition by client_key, session_number) > {{ watermark() }}
    {% endif %}
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
    to_timestamp_ntz(session_start_ms, 3)::date as session_date,
    session_start_ms,
    event_time_ms - session_start_ms as session_age_ms,
    search_term,
    item_list_id,
    transaction_id,
    value,
    user_id,
    recommendation_id,
    device,
    network_key,
    is_trusted,
    received_at_ms,
    loaded_at,
    staged_at
from in_sessions
