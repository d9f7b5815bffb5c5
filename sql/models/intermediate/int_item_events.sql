-- Insert-only like staging: the items of an event never change.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='fail',
    cluster_by=['event_date'],
    post_hook="{{ record_progress(ref('stg_events')) }}"
) }}

with events as (
    select * from {{ ref('stg_events') }}
    where
        not is_bot
        and event_name in (
            {%- for event in var('item_events') %}
            '{{ event }}'{{ ',' if not loop.last }}
            {%- endfor %}
        )
        {% if is_incremental() %}
        and staged_at > {{ watermark() }}
        {% endif %}
),

items as (
    select
        events.event_key,
        events.shop_id,
        events.event_name,
        events.event_time_ms,
        events.event_date,
        events.transaction_id,
        events.staged_at,
        item.index::int as item_index,
        item.value:item_id::varchar as item_id,
        item.value:item_name::varchar as item_name,
        item.value:item_category::varchar as item_category,
        item.value:item_brand::varchar as item_brand,
        item.value:price::float as price,
        item.value:quantity::int as quantity
    from events,
        lateral flatten(input => events.items) as item
)

select
    event_key || '-' || item_index::varchar as item_event_key,
    event_key,
    shop_id,
    event_name,
    event_time_ms,
    event_date,
    transaction_id,
    item_index,
    item_id,
    item_name,
    item_category,
    item_brand,
    price,
    quantity,
    staged_at
from items
where item_id is not null
order by event_date
