-- Insert-only. A reloaded confirmation page sends its order a second time, possibly days later.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    cluster_by=['event_date'],
    post_hook="{{ record_progress(ref('int_item_events')) }}"
) }}

with purchases as (
    select
        {{ key(['shop_id', 'coalesce(transaction_id, event_key)', 'item_id']) }} as order_line_key,
        shop_id,
        item_id,
        event_date,
        staged_at
    from {{ ref('int_item_events') }}
    where
        event_name = 'purchase'
        {% if is_incremental() %}
        and staged_at > {{ watermark() }}
        {% endif %}
),

lines as (
    select * from purchases
    qualify row_number() over (partition by order_line_key order by event_date) = 1
)

select lines.*
from lines
{% if is_incremental() %}
left join {{ this }} as known
    on
        lines.order_line_key = known.order_line_key
        and {{ among('known.event_date', order_days()) }}
where known.order_line_key is null
{% endif %}
order by lines.event_date
