-- Not insert-only: a replay can verify a receipt that collect could not verify.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='touch_key',
    on_schema_change='fail',
    cluster_by=['client_day'],
    meta={'day': 'client_day'},
    post_hook="{{ record_progress(source('raw', 'events'), 'loaded_at') }}"
) }}
{%- set unread_raw = unread_rows_of_raw(is_incremental()) %}
{%- set with_receipts = unread_raw ~ " and payload:server.receipts is not null" %}
{%- set days = raw_client_days(with_receipts) if is_incremental() else [] %}

with raw_events as (
    select
        payload,
        filename,
        row_number as line_number,
        loaded_at
    from {{ source('raw', 'events') }}
    where {{ with_receipts }}
),

typed as (
    select
        {{ event_key() }} as event_key,
        raw_events.payload:shop_id::varchar as shop_id,
        raw_events.payload:event_id::varchar as event_id,
        {{ client_day() }} as client_day,
        item.value:item_id::varchar as item_id,
        item.value:slot::int as slot,
        receipt.value:verdict::varchar as verdict,
        receipt.value:recommendation_id::varchar as recommendation_id,
        receipt.value:model_version::varchar as model_version,
        receipt.value:variant::varchar as variant,
        receipt.value:issued_at_ms::bigint as issued_at_ms,
        -- The collector stores only another placement than the default.
        iff(
            receipt.value:recommendation_id is null,
            null,
            coalesce(receipt.value:placement::varchar, '{{ var("placements")[0] }}')
        ) as placement,
        iff(
            receipt.value:recommendation_id is null, null, coalesce(receipt.value:rules::varchar, 'none')
        ) as rules,
        iff(
            receipt.value:recommendation_id is null, null, coalesce(item.value:explored::boolean, false)
        ) as is_explored,
        raw_events.filename,
        raw_events.line_number,
        raw_events.loaded_at
    from raw_events,
        lateral flatten(input => raw_events.payload:server.receipts) as receipt,
        lateral flatten(input => receipt.value:items) as item
),

identified as (
    select
        *,
        {{ key(['event_key', 'item_id']) }} as touch_key
    from typed
    where
        event_key is not null
        and item_id is not null
),

-- The first verified copy; of an item's receipts in it, the valid and latest one.
best_copies as (
    select *
    from identified
    qualify
        row_number() over (
            partition by touch_key
            order by
                iff(verdict = 'unverified', 1, 0), loaded_at, filename, line_number,
                iff(verdict = 'valid', 0, 1), -issued_at_ms, recommendation_id
        ) = 1
),

-- A receipt whose event is not staged yet waits for the next run, which reads the last hours again.
new_or_verified as (
    select best_copies.*
    from best_copies
    inner join {{ ref('stg_events') }} as events
        on
            best_copies.event_key = events.event_key
            {% if is_incremental() %}
            and {{ among('events.client_day', days) }}
            {% endif %}
    {% if is_incremental() %}
    left join {{ this }} as staged
        on
            best_copies.touch_key = staged.touch_key
            and {{ among('staged.client_day', days) }}
    where
        staged.touch_key is null
        or (staged.verdict = 'unverified' and best_copies.verdict != 'unverified')
    {% endif %}
)

select
    touch_key,
    event_key,
    shop_id,
    event_id,
    item_id,
    slot,
    verdict,
    recommendation_id,
    model_version,
    variant,
    issued_at_ms,
    placement,
    rules,
    is_explored,
    client_day,
    loaded_at,
    date_trunc('millisecond', {{ statement_time() }}) as staged_at
from new_or_verified
