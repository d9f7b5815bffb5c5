with sessions as (
    select * from {{ ref('sessions') }}
)

select
    {{ key(['shop_id', 'started_on::varchar']) }} as daily_kpi_key,
    shop_id,
    started_on as day,
    count(*)::int as sessions,
    count(distinct client_key)::int as clients,
    sum(events)::int as events,
    sum(item_views)::int as item_views,
    sum(carts)::int as carts,
    sum(purchases)::int as purchases,
    sum(revenue)::float as revenue,
    (count_if(purchases > 0) / count(*))::float as conversion_rate,
    sum(recommendation_impressions)::int as recommendation_impressions,
    sum(recommendation_clicks)::int as recommendation_clicks,
    (
        sum(recommendation_clicks) / nullif(sum(recommendation_impressions), 0)
    )::float as recommendation_click_rate
from sessions
group by shop_id, started_on
