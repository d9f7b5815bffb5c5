with item_events as (
    select * from {{ ref('int_item_events') }}
)

select
    {{ key(['shop_id', 'item_id']) }} as product_key,
    shop_id,
    item_id,
    -- The latest value: a null time excludes events without a value from max_by.
    max_by(item_name, iff(item_name is null, null, event_time_ms)) as item_name,
    max_by(item_category, iff(item_category is null, null, event_time_ms)) as item_category,
    max_by(item_brand, iff(item_brand is null, null, event_time_ms)) as item_brand,
    max_by(price, iff(price is null, null, event_time_ms))::float as price,
    min(event_time_ms) as first_seen_ms,
    max(event_time_ms) as last_seen_ms,
    count_if(event_name = 'view_item')::int as views,
    count_if(event_name = 'add_to_cart')::int as carts,
    -- A reloaded confirmation page sends its order a second time.
    count(distinct iff(event_name = 'purchase', coalesce(transaction_id, event_key), null))::int as purchases
from item_events
group by shop_id, item_id
