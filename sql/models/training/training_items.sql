with products as (
    select * from {{ ref('products') }}
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
