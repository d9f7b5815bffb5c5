-- Adds new events to their products. Item events are insert-only, so each counts once.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='product_key',
    on_schema_change='fail',
    post_hook="{{ record_progress(ref('int_item_events')) }}"
) }}

with item_events as (
    select
        {{ key(['shop_id', 'item_id']) }} as product_key,
        *
    from {{ ref('int_item_events') }}
    {% if is_incremental() %}
    where staged_at > {{ watermark() }}
    {% endif %}
),

seen as (
    select
        product_key,
        shop_id,
        item_id,
        -- The latest value: a null time excludes events without a value from max_by.
        max_by(item_name, iff(item_name is null, null, event_time_ms)) as item_name,
        max(iff(item_name is null, null, event_time_ms)) as item_name_at_ms,
        max_by(item_category, iff(item_category is null, null, event_time_ms)) as item_category,
        max(iff(item_category is null, null, event_time_ms)) as item_category_at_ms,
        max_by(item_brand, iff(item_brand is null, null, event_time_ms)) as item_brand,
        max(iff(item_brand is null, null, event_time_ms)) as item_brand_at_ms,
        max_by(price, iff(price is null, null, event_time_ms)) as price,
        max(iff(price is null, null, event_time_ms)) as price_at_ms,
        min(event_time_ms) as first_seen_ms,
        max(event_time_ms) as last_seen_ms,
        count_if(event_name = 'view_item') as views,
        count_if(event_name = 'add_to_cart') as carts,
        max(staged_at) as staged_at
    from item_events
    group by product_key, shop_id, item_id
),

parts as (
    select * from seen
    {% if is_incremental() %}
    union all
    select
        known.product_key,
        known.shop_id,
        known.item_id,
        known.item_name,
        known.item_name_at_ms,
        known.item_category,
        known.item_category_at_ms,
        known.item_brand,
        known.item_brand_at_ms,
        known.price,
        known.price_at_ms,
        known.first_seen_ms,
        known.last_seen_ms,
        known.views,
        known.carts,
        known.staged_at
    from {{ this }} as known
    where known.product_key in (select seen.product_key from seen)
    {% endif %}
)

select
    product_key,
    shop_id,
    item_id,
    max_by(item_name, item_name_at_ms) as item_name,
    max_by(item_category, item_category_at_ms) as item_category,
    max_by(item_brand, item_brand_at_ms) as item_brand,
    max_by(price, price_at_ms)::float as price,
    min(first_seen_ms) as first_seen_ms,
    max(last_seen_ms) as last_seen_ms,
    sum(views)::int as views,
    sum(carts)::int as carts,
    max(item_name_at_ms) as item_name_at_ms,
    max(item_category_at_ms) as item_category_at_ms,
    max(item_brand_at_ms) as item_brand_at_ms,
    max(price_at_ms) as price_at_ms,
    max(staged_at) as staged_at
from parts
group by product_key, shop_id, item_id
