-- A shop's row is replaced only when its currency changes. Then all orders of the shop are computed again.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='shop_id',
    on_schema_change='fail'
) }}

with reported as (
    select
        shop_id,
        currency,
        is_trusted,
        -- Days of receipt: many invented orders of one night do not change the shop's currency.
        count(distinct floor(received_at_ms / 86400000)) as days,
        count(*) as reports
    from {{ ref('int_order_reports') }}
    where
        event_name = 'purchase'
        and currency is not null
    group by shop_id, currency, is_trusted
),

usual as (
    select
        shop_id,
        currency
    from reported
    qualify
        row_number() over (
            partition by shop_id order by iff(is_trusted, 0, 1) asc, days desc, reports desc, currency asc
        ) = 1
),

given as (
    select
        shop_id,
        {{ given_currency() }} as currency
    from usual
)

select
    given.shop_id,
    given.currency,
    {{ newest(ref('int_order_reports')) }} as staged_at
from given
{% if is_incremental() %}
left join {{ this }} as known on given.shop_id = known.shop_id
where known.currency is null or given.currency != known.currency
{% endif %}
