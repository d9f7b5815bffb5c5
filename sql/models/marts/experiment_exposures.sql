-- A client's first exposure counts. One that arrives late can be earlier, and then replaces the row.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='exposure_key',
    on_schema_change='fail',
    cluster_by=['exposed_on'],
    meta={'day': 'exposed_on', 'days': 'exposure_days'},
    post_hook="{{ record_progress(ref('stg_exposures')) }}"
) }}

with exposures as (
    select * from {{ ref('stg_exposures') }}
    where
        verdict = 'valid'
        and not is_bot
        {% if is_incremental() %}
        and staged_at > {{ watermark() }}
        {% endif %}
),

first_exposures as (
    select *
    from exposures
    qualify row_number() over (partition by exposure_key order by event_time_ms, event_key) = 1
),

earlier_exposures as (
    select first_exposures.*
    from first_exposures
    {% if is_incremental() %}
    left join {{ this }} as known on first_exposures.exposure_key = known.exposure_key
    where
        known.exposure_key is null
        or first_exposures.event_time_ms < known.exposed_at_ms
        or (
            first_exposures.event_time_ms = known.exposed_at_ms
            and first_exposures.event_key < known.event_key
        )
    {% endif %}
)

select
    exposure_key,
    shop_id,
    experiment,
    client_key,
    client_id,
    arm,
    share,
    control_arm,
    event_key,
    event_time_ms as exposed_at_ms,
    event_date as exposed_on,
    recommendation_id,
    model_version,
    variant,
    placement,
    variant = 'fallback' as is_fallback,
    slots = 0 as is_empty,
    staged_at
from earlier_exposures
