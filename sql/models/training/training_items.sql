-- depends_on: {{ ref('daily_kpis') }}
with products as (
    select * from {{ ref('products') }}
    where {{ in_training_window('shop_id', 'to_timestamp_ntz(last_seen_ms, 3)::date') }}
)

select
    shop_id,
    item_id,
    item_name,
    item_category,
    item_brand,
    price::float as price,
    first_seen_ms::bigint as first_seen_ms,
    last_seen_ms::bigint as last_seen_ms,
    (views + carts + purchases)::int as interactions,
    purchases::int as purchases
from products
where views + carts + purchases > 0
