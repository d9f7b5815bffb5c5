-- Insert-only like staging. int_order_lines chooses the reports that count.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    cluster_by=['event_date'],
    post_hook="{{ record_progress(ref('stg_events')) }}"
) }}

select
    event_key,
    {{ order_key() }} as order_key,
    shop_id,
    client_key,
    event_name,
    trim(transaction_id) as transaction_id,
    event_time_ms,
    event_date,
    -- Of the collector's clock: a sender cannot choose it.
    coalesce(received_at_ms, event_time_ms) as received_at_ms,
    is_trusted,
    value,
    currency,
    items,
    staged_at
from {{ ref('stg_events') }}
where
    not is_bot
    and event_name in {{ order_events() }}
    {% if is_incremental() %}
    and staged_at > {{ watermark() }}
    {% endif %}
order by event_date
