-- Every item of a training session is described exactly once in its shop.
with used as (
    select distinct
        shop_id,
        item_id
    from {{ ref('training_interactions') }}
    where {{ new_rows() }}
),

described as (
    select
        shop_id,
        item_id,
        count(*) as descriptions
    from {{ ref('training_items') }}
    where {{ of_tested_shop() }}
    group by shop_id, item_id
)

select
    coalesce(used.shop_id, described.shop_id) as shop_id,
    coalesce(used.item_id, described.item_id) as item_id,
    described.descriptions
from used
full outer join described on used.shop_id = described.shop_id and used.item_id = described.item_id
where described.descriptions is null or described.descriptions > 1
