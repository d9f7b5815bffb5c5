-- Insert-only: the first verified copy counts. A replay can verify one that collect could not verify.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    cluster_by=['client_day'],
    post_hook="{{ record_progress(source('raw', 'events'), 'loaded_at') }}"
) }}
{%- set unread_raw = unread_rows_of_raw(is_incremental()) %}
{%- set exposures = unread_raw ~ " and payload:event_name::varchar = '" ~ var('exposure_events')[0] ~ "'" %}
{%- set days = raw_client_days(exposures) if is_incremental() else [] %}

with raw_events as (
    select
        payload,
        filename,
        row_number as line_number,
        loaded_at
    from {{ source('raw', 'events') }}
    where {{ exposures }}
),

typed as (
    select
        {{ event_key() }} as event_key,
        {{ client_day() }} as client_day,
        receipt.value:verdict::varchar as verdict,
        receipt.value:recommendation_id::varchar as recommendation_id,
        receipt.value:model_version::varchar as model_version,
        receipt.value:variant::varchar as variant,
        coalesce(receipt.value:placement::varchar, '{{ var("placements")[0] }}') as placement,
        receipt.value:slots::int as slots,
        exposure.value:experiment::varchar as experiment,
        exposure.value:arm::varchar as arm,
        exposure.value:share::int as share,
        exposure.value:control::varchar as control_arm,
        raw_events.filename,
        raw_events.line_number,
        raw_events.loaded_at
    from raw_events,
        lateral flatten(input => raw_events.payload:server.receipts) as receipt,
        lateral flatten(input => receipt.value:experiments) as exposure
),

first_copies as (
    select
        *,
        {{ key(['event_key', 'experiment']) }} as exposure_event_key
    from typed
    where event_key is not null and experiment is not null
    qualify
        row_number() over (
            partition by event_key, experiment order by loaded_at, filename, line_number, recommendation_id
        ) = 1
),

-- An exposure whose event is not staged yet waits for the next run, which reads the last hours again.
new_exposures as (
    select
        first_copies.*,
        events.shop_id,
        events.client_key,
        events.client_id,
        events.event_time_ms,
        events.event_date,
        events.is_bot
    from first_copies
    inner join {{ ref('stg_events') }} as events
        on
            first_copies.event_key = events.event_key
            {% if is_incremental() %}
            and {{ among('events.client_day', days) }}
            {% endif %}
    {% if is_incremental() %}
    left join {{ this }} as staged
        on
            first_copies.exposure_event_key = staged.exposure_event_key
            and {{ among('staged.client_day', days) }}
    where staged.exposure_event_key is null
    {% endif %}
)

select
    exposure_event_key,
    event_key,
    {{ key(['shop_id', 'experiment', 'client_id']) }} as exposure_key,
    shop_id,
    client_key,
    client_id,
    experiment,
    arm,
    share,
    control_arm,
    verdict,
    recommendation_id,
    model_version,
    variant,
    placement,
    slots,
    event_time_ms,
    event_date,
    is_bot,
    client_day,
    loaded_at,
    date_trunc('millisecond', {{ statement_time() }}) as staged_at
from new_exposures
