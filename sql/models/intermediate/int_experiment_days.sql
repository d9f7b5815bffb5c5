-- depends_on: {{ ref('int_session_events') }}
-- Outcomes count on the day of the client's first exposure. Sums and squares of days add up.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    meta={'day': 'exposed_on', 'days': 'outcome_exposure_days'},
    post_hook="{{ record_progress(ref('experiment_exposures'), also=ref('sessions')) }}"
) }}
{%- set days = outcome_exposure_days() if is_incremental() else [] %}
{%- set outcome_days = var('experiment_outcome_days') | int %}

with exposures as (
    select * from {{ ref('experiment_exposures') }}
    {% if is_incremental() %}
    where {{ among('exposed_on', days) }}
    {% endif %}
),

sessions as (
    select * from {{ ref('sessions') }}
    {% if is_incremental() %}
    where {{ among('started_on', around(days, outcome_days)) }}
    {% endif %}
),

-- From the session of the exposure on. It can have begun before midnight.
outcomes as (
    select
        exposures.exposure_key,
        iff(sum(sessions.recommendation_clicks) > 0, 1, 0) as click,
        iff(sum(sessions.carts) > 0, 1, 0) as cart,
        iff(sum(sessions.purchases) > 0, 1, 0) as buyer,
        sum(sessions.purchases) as orders,
        sum(sessions.net_revenue) as revenue
    from exposures
    inner join sessions
        on
            exposures.client_key = sessions.client_key
            and exposures.exposed_at_ms <= sessions.ended_at_ms
            and sessions.started_on >= dateadd('day', -1, exposures.exposed_on)
            and sessions.started_on < dateadd('day', {{ outcome_days }}, exposures.exposed_on)
    group by exposures.exposure_key
)

select
    {{ key(['exposures.shop_id', 'exposures.experiment', 'exposures.arm', 'exposures.exposed_on::varchar']) }}
        as experiment_day_key,
    exposures.shop_id,
    exposures.experiment,
    exposures.arm,
    exposures.exposed_on,
    max(exposures.share)::int as share,
    max(exposures.control_arm) as control_arm,
    count(*)::int as visitors,
    count_if(exposures.is_fallback)::int as fallback_visitors,
    count_if(exposures.is_empty)::int as empty_visitors,
    coalesce(sum(outcomes.click), 0)::int as clickers,
    coalesce(sum(outcomes.cart), 0)::int as cart_visitors,
    coalesce(sum(outcomes.buyer), 0)::int as buyers,
    coalesce(sum(outcomes.orders), 0)::int as orders,
    coalesce(sum(outcomes.revenue), 0)::float as revenue,
    coalesce(sum(outcomes.revenue * outcomes.revenue), 0)::float as revenue_squares,
    {% if is_incremental() %}
    {{ newest(ref('experiment_exposures'), ref('sessions')) }} as staged_at
    {% else %}
    max(exposures.staged_at) as staged_at
    {% endif %}
from exposures
left join outcomes on exposures.exposure_key = outcomes.exposure_key
group by exposures.shop_id, exposures.experiment, exposures.arm, exposures.exposed_on
