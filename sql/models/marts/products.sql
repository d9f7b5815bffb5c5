-- Rebuilt each night: its size is the number of products, not of events. A sale that begins without a new
-- feed changes it too.
with seen as (
    select * from {{ ref('int_product_events') }}
),

-- A later report can change an old order, so the orders are counted anew.
ordered as (
    select
        shop_id,
        item_id,
        count(distinct order_key) as purchases
    from {{ ref('int_order_lines') }}
    where item_id is not null
    group by shop_id, item_id
),

listed as (
    select
        *,
        sale_price is not null
        and coalesce(to_timestamp_ntz(sale_starts_at_ms, 3) <= {{ statement_time() }}, true)
        and coalesce(to_timestamp_ntz(sale_ends_at_ms, 3) > {{ statement_time() }}, true) as is_on_sale
    from {{ ref('catalogue_history') }}
    where valid_until_ms = {{ end_of_time_ms() }}
)

select
    coalesce(listed.product_key, seen.product_key) as product_key,
    coalesce(listed.shop_id, seen.shop_id) as shop_id,
    coalesce(listed.item_id, seen.item_id) as item_id,
    coalesce(listed.title, seen.item_name) as item_name,
    coalesce(listed.category, seen.item_category) as item_category,
    coalesce(listed.brand, seen.item_brand) as item_brand,
    coalesce(iff(listed.is_on_sale, listed.sale_price, listed.price), seen.price)::float as price,
    listed.price as regular_price,
    listed.sale_price,
    listed.sale_starts_at_ms,
    listed.sale_ends_at_ms,
    seen.price::float as event_price,
    listed.currency,
    listed.url,
    listed.image_url,
    listed.availability,
    listed.is_listed,
    -- Null where no feed says it: the shop may have no feed, or the feed no stock.
    iff(listed.is_listed, listed.availability != 'out_of_stock', listed.is_listed) as is_available,
    listed.item_group_id,
    listed.condition,
    listed.cost,
    listed.attributes,
    seen.first_seen_ms,
    seen.last_seen_ms,
    coalesce(seen.views, 0)::int as views,
    coalesce(seen.carts, 0)::int as carts,
    coalesce(ordered.purchases, 0)::int as purchases,
    greatest(
        coalesce(listed.staged_at, seen.staged_at), coalesce(seen.staged_at, listed.staged_at)
    ) as staged_at
from seen
full outer join listed on seen.product_key = listed.product_key
left join ordered
    on
        coalesce(listed.shop_id, seen.shop_id) = ordered.shop_id
        and coalesce(listed.item_id, seen.item_id) = ordered.item_id
