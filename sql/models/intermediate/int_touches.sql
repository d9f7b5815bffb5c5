-- Follows stg_receipts: a touch whose receipt is verified later replaces its own row.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='touch_key',
    on_schema_change='fail',
    cluster_by=['day'],
    meta={'day': 'event_date'},
    post_hook="{{ record_progress(ref('stg_receipts')) }}"
) }}

with receipts as (
    select * from {{ ref('stg_receipts') }}
    {% if is_incremental() %}
    where staged_at > {{ watermark() }}
    {% endif %}
),

events as (
    select * from {{ ref('stg_events') }}
    where
        not is_bot
        {% if is_incremental() %}
        and {{ among('client_day', unread_days(ref('stg_receipts'), ['client_day'])) }}
        and event_key in (select receipts.event_key from receipts)
        {% endif %}
),

keyed as (
    select
        *,
        iff(event_name = 'purchase', {{ order_key() }}, null) as order_key
    from events
)

select
    receipts.touch_key,
    receipts.event_key,
    receipts.shop_id,
    events.client_key,
    events.event_name,
    events.event_time_ms,
    events.event_date,
    events.device,
    -- The day of the recommendation, or of the event if the receipt does not name one.
    to_timestamp_ntz(coalesce(receipts.issued_at_ms, events.event_time_ms), 3)::date as day,
    receipts.item_id,
    receipts.slot,
    receipts.verdict,
    {{ key(['receipts.shop_id', 'receipts.recommendation_id']) }} as recommendation_key,
    receipts.recommendation_id,
    receipts.model_version,
    receipts.variant,
    receipts.issued_at_ms,
    receipts.placement,
    receipts.rules,
    receipts.is_explored,
    events.order_key,
    receipts.staged_at
from receipts
inner join keyed as events on receipts.event_key = events.event_key
