-- depends_on: {{ ref('daily_kpis') }}
{%- set newest = newest_days() %}
{%- set new_days = var('new_product_days') %}
with first_listings as (
    select
        product_key,
        min(valid_from_ms) as listed_ms,
        min(min(valid_from_ms)) over (partition by shop_id) as feed_ms
    from {{ ref('catalogue_history') }}
    where is_listed
    group by shop_id, product_key
),

first_days as (
    select
        shop_id,
        coalesce(min(iff(clients >= {{ var('sharing_clients') }}, day, null)), min(day)) as day
    from {{ ref('daily_kpis') }}
    group by shop_id
),

known as (
    select
        products.*,
        products.views + products.carts + products.purchases as interactions,
        to_timestamp_ntz(products.last_seen_ms, 3)::date as seen_on,
        to_timestamp_ntz(first_listings.listed_ms, 3)::date as listed_on,
        first_listings.listed_ms > first_listings.feed_ms as is_added,
        first_days.day as shop_since
    from {{ ref('products') }} as products
    left join first_listings on products.product_key = first_listings.product_key
    left join first_days on products.shop_id = first_days.shop_id
),

chosen as (
    select
        *,
        coalesce(
            interactions > 0 and {{ in_training_window('shop_id', 'seen_on', newest=newest) }}, false
        ) as is_viewed,
        -- What nobody viewed in many days is hardly viewed tomorrow, and it takes places from what is.
        -- All products of a shop's first feed are new to the feed, so there the shop must be new too.
        is_available
        and {{ in_training_window('shop_id', 'listed_on', new_days, newest) }}
        and (is_added or {{ in_training_window('shop_id', 'shop_since', new_days, newest) }}) as is_new
    from known
)

select
    shop_id,
    item_id,
    item_name,
    item_category,
    item_brand,
    price::float as price,
    attributes,
    first_seen_ms::bigint as first_seen_ms,
    last_seen_ms::bigint as last_seen_ms,
    interactions::int as interactions,
    purchases::int as purchases
from chosen
where is_viewed or is_new
qualify
    is_viewed
    or row_number() over (partition by shop_id, is_viewed order by item_id) <= {{ var('new_products') }}
