-- A readable receipt counts on the day of its issue: clicks and orders then stand beside their impressions.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    meta={'day': 'day', 'days': 'outcome_days'},
    post_hook="{{ record_progress(ref('int_touches'), also=ref('recommendations')) }}"
) }}

{% set days = outcome_days() if is_incremental() else [] -%}

with recommendations as (
    select * from {{ ref('recommendations') }}
    {% if is_incremental() %}
    where {{ among('issued_on', days) }}
    {% endif %}
),

touches as (
    select * from {{ ref('int_touches') }}
    {% if is_incremental() %}
    where {{ among('day', days) }}
    {% endif %}
),

outcomes as (
    select
        shop_id,
        issued_on as day,
        model_version,
        variant,
        placement,
        count(*) as recommendations,
        sum(items_shown) as items_shown,
        sum(items_clicked) as items_clicked,
        sum(items_carted) as items_carted,
        sum(items_bought) as items_bought,
        sum(revenue) as revenue,
        sum(confirmed_revenue) as confirmed_revenue,
        sum(claimed_revenue) as claimed_revenue
    from recommendations
    group by shop_id, issued_on, model_version, variant, placement
),

dated as (
    select
        shop_id,
        day,
        coalesce(model_version, 'unknown') as model_version,
        coalesce(variant, 'unknown') as variant,
        coalesce(placement, 'unknown') as placement,
        verdict,
        staged_at
    from touches
),

verdicts as (
    select
        shop_id,
        day,
        model_version,
        variant,
        placement,
        count_if(verdict = 'valid') as receipts_valid,
        count_if(verdict = 'forged') as receipts_forged,
        count_if(verdict = 'foreign') as receipts_foreign,
        count_if(verdict in ('expired', 'late')) as receipts_expired,
        count_if(verdict = 'unverified') as receipts_unverified,
        max(staged_at) as staged_at
    from dated
    group by shop_id, day, model_version, variant, placement
)

select
    {{
        key([
            'verdicts.shop_id', 'verdicts.day::varchar', 'verdicts.model_version', 'verdicts.variant', 'verdicts.placement'
        ])
    }} as daily_recommendation_key,
    verdicts.shop_id,
    verdicts.day,
    verdicts.model_version,
    verdicts.variant,
    verdicts.placement,
    coalesce(outcomes.recommendations, 0)::int as recommendations,
    coalesce(outcomes.items_shown, 0)::int as items_shown,
    coalesce(outcomes.items_clicked, 0)::int as items_clicked,
    (outcomes.items_clicked / nullif(outcomes.items_shown, 0))::float as click_rate,
    coalesce(outcomes.items_carted, 0)::int as items_carted,
    coalesce(outcomes.items_bought, 0)::int as items_bought,
    coalesce(outcomes.revenue, 0)::float as revenue,
    coalesce(outcomes.confirmed_revenue, 0)::float as confirmed_revenue,
    coalesce(outcomes.claimed_revenue, 0)::float as claimed_revenue,
    verdicts.receipts_valid::int as receipts_valid,
    verdicts.receipts_forged::int as receipts_forged,
    verdicts.receipts_foreign::int as receipts_foreign,
    verdicts.receipts_expired::int as receipts_expired,
    verdicts.receipts_unverified::int as receipts_unverified,
    verdicts.staged_at
from verdicts
-- Every recommendation has a valid touch with the same shop, day, model, variant and placement.
left join outcomes
    on
        verdicts.shop_id = outcomes.shop_id
        and verdicts.day = outcomes.day
        and verdicts.model_version = outcomes.model_version
        and verdicts.variant = outcomes.variant
        and verdicts.placement = outcomes.placement
