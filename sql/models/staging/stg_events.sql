-- Insert-only: a staged event never changes, so a run reads only newly loaded rows.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    cluster_by=['event_date'],
    post_hook="{{ record_progress(source('raw', 'events'), 'loaded_at') }}"
) }}
{%- set unread_raw = unread_rows_of_raw(is_incremental()) %}

with raw_events as (
    select
        payload,
        filename,
        row_number as line_number,
        loaded_at
    from {{ source('raw', 'events') }}
    -- Filter on the column LOADED_AT: filtering on a field of the payload would parse all of RAW.
    where {{ unread_raw }}
),

typed as (
    select
        {{ event_key() }} as event_key,
        payload:shop_id::varchar as shop_id,
        payload:event_id::varchar as event_id,
        payload:event_name::varchar as event_name,
        payload:client_id::varchar as client_id,
        payload:session_id::varchar as storefront_session_id,
        -- The client's clock, corrected by collect, so that a delayed event keeps its place in its session.
        -- No event is later than its receipt: sessions of the future would count as the newest of all.
        least(
            coalesce(payload:server.event_time_ms::bigint, payload:server.received_at_ms::bigint),
            coalesce(payload:server.received_at_ms::bigint, payload:server.event_time_ms::bigint)
        ) as event_time_ms,
        {{ client_day() }} as client_day,
        payload:sequence::bigint as sequence,
        payload:items as items,
        payload:search_term::varchar as search_term,
        payload:item_list_id::varchar as item_list_id,
        payload:transaction_id::varchar as transaction_id,
        payload:value::float as value,
        payload:currency::varchar as currency,
        payload:user_id::varchar as user_id,
        payload:recommendation_id::varchar as recommendation_id,
        payload:page_location::varchar as page_location,
        payload:server.device::varchar as device,
        payload:server.received_at_ms::bigint as received_at_ms,
        payload:server.ip_prefix::varchar as ip_prefix,
        coalesce(payload:server.trusted::boolean, false) as is_trusted,
        -- The user agent of a shop's back end can look like a bot's.
        coalesce(payload:server.is_bot::boolean, false)
        and not coalesce(payload:server.trusted::boolean, false) as is_bot,
        filename,
        line_number,
        loaded_at
    from raw_events
),

identified as (
    select
        *,
        {{ key(['shop_id', 'client_id']) }} as client_key,
        iff(ip_prefix is null, null, {{ key(['shop_id', 'ip_prefix']) }}) as network_key
    from typed
    where
        shop_id is not null
        and event_id is not null
        and client_id is not null
        and event_name is not null
        and event_time_ms is not null
),

first_copies as (
    select *
    from identified
    qualify row_number() over (partition by event_key order by loaded_at, filename, line_number) = 1
),

new_events as (
    select first_copies.*
    from first_copies
    {% if is_incremental() %}
    -- A copy has the client's time of the original, however late it comes.
    left join {{ this }} as staged
        on
            first_copies.event_key = staged.event_key
            and {{ among('staged.client_day', raw_client_days(unread_raw)) }}
    where staged.event_key is null
    {% endif %}
)

select
    event_key,
    client_key,
    shop_id,
    event_id,
    event_name,
    client_id,
    storefront_session_id,
    event_time_ms,
    to_timestamp_ntz(event_time_ms, 3) as event_time,
    to_timestamp_ntz(event_time_ms, 3)::date as event_date,
    client_day,
    sequence,
    items,
    search_term,
    item_list_id,
    transaction_id,
    value,
    currency,
    user_id,
    recommendation_id,
    page_location,
    device,
    is_bot,
    is_trusted,
    network_key,
    received_at_ms,
    loaded_at,
    -- Milliseconds: models compare this time with a constant.
    date_trunc('millisecond', {{ statement_time() }}) as staged_at
from new_events
-- Rows of a day in few micro-partitions, so that later filters by day skip the others.
order by event_date
