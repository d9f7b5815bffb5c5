-- depends_on: {{ ref('int_session_events') }}, {{ ref('recommendations') }}
-- Sessions have no model and answers have no category, so each part of the funnel has rows of its own.
-- Every figure is then a sum, whatever a query groups by.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    cluster_by=['day'],
    meta={'day': 'day', 'days': 'funnel_days'},
    post_hook="{{ record_progress(ref('sessions'), also=[ref('int_touches'), ref('recommendations')]) }}"
) }}
{%- set days = funnel_days() if is_incremental() else [] %}
{%- set dimensions = ['model_version', 'variant', 'rules', 'placement', 'device', 'item_category'] %}
{%- set figures = {
    'sessions': 'int', 'viewing_sessions': 'int', 'carting_sessions': 'int', 'ordering_sessions': 'int',
    'orders': 'int', 'order_revenue': 'float', 'events': 'int', 'impression_events': 'int', 'click_events': 'int',
    'recommendations': 'int', 'items_shown': 'int', 'items_clicked': 'int', 'items_carted': 'int',
    'items_bought': 'int', 'units_bought': 'int', 'recommendation_revenue': 'float'
} %}

with sessions as (
    select * from {{ ref('sessions') }}
    where {{ among('started_on', days) if is_incremental() else "true" }}
),

valid_touches as (
    select * from {{ ref('int_touches') }}
    where
        verdict = 'valid'
        and {{ among('day', days) if is_incremental() else "true" }}
),

credited_lines as (
    select * from {{ ref('int_credited_lines') }}
    {% if is_incremental() %}
    -- A valid touch is at most a day away from its recommendation.
    where {{ among('event_date', around(days, 1)) }}
    {% endif %}
),

counted as (
    {{ counted_touches() }}
),

answers as (
    select
        recommendation_key,
        shop_id,
        min(day) as day,
        min(model_version) as model_version,
        min(variant) as variant,
        min(rules) as rules,
        min(placement) as placement,
        min(device) as device,
        max(staged_at) as staged_at
    from counted
    group by recommendation_key, shop_id
),

items as (
    select
        recommendation_key,
        item_id,
        max(iff(event_name = 'recommendation_impression', 1, 0)) as items_shown,
        max(iff(event_name = 'recommendation_click', 1, 0)) as items_clicked,
        max(iff(event_name = 'add_to_cart', 1, 0)) as items_carted,
        max(iff(is_bought, 1, 0)) as items_bought,
        sum(iff(is_bought, units, 0)) as units_bought,
        sum(iff(is_bought, revenue, 0)) as recommendation_revenue
    from counted
    group by recommendation_key, item_id
),

session_rows as (
    select
        'sessions' as part,
        shop_id,
        started_on as day,
        null as model_version,
        null as variant,
        null as rules,
        null as placement,
        coalesce(device, 'unknown') as device,
        null as item_category,
        count(*) as sessions,
        count_if(item_views > 0) as viewing_sessions,
        count_if(carts > 0) as carting_sessions,
        count_if(purchases > 0) as ordering_sessions,
        sum(purchases) as orders,
        sum(revenue) as order_revenue,
        sum(events) as events,
        sum(recommendation_impressions) as impression_events,
        sum(recommendation_clicks) as click_events,
        max(staged_at) as staged_at
    from sessions
    group by shop_id, started_on, coalesce(device, 'unknown')
),

answer_rows as (
    select
        'recommendations' as part,
        shop_id,
        day,
        coalesce(model_version, 'unknown') as model_version,
        coalesce(variant, 'unknown') as variant,
        coalesce(rules, 'unknown') as rules,
        coalesce(placement, 'unknown') as placement,
        coalesce(device, 'unknown') as device,
        null as item_category,
        count(*) as recommendations,
        max(staged_at) as staged_at
    from answers
    group by
        shop_id, day, coalesce(model_version, 'unknown'), coalesce(variant, 'unknown'),
        coalesce(rules, 'unknown'), coalesce(placement, 'unknown'), coalesce(device, 'unknown')
),

item_rows as (
    select
        'items' as part,
        answers.shop_id,
        answers.day,
        coalesce(answers.model_version, 'unknown') as model_version,
        coalesce(answers.variant, 'unknown') as variant,
        coalesce(answers.rules, 'unknown') as rules,
        coalesce(answers.placement, 'unknown') as placement,
        coalesce(answers.device, 'unknown') as device,
        coalesce(products.item_category, 'unknown') as item_category,
        sum(items.items_shown) as items_shown,
        sum(items.items_clicked) as items_clicked,
        sum(items.items_carted) as items_carted,
        sum(items.items_bought) as items_bought,
        sum(items.units_bought) as units_bought,
        sum(items.recommendation_revenue) as recommendation_revenue,
        max(answers.staged_at) as staged_at
    from items
    inner join answers on items.recommendation_key = answers.recommendation_key
    left join {{ ref('products') }} as products
        on answers.shop_id = products.shop_id and items.item_id = products.item_id
    group by
        answers.shop_id, answers.day, coalesce(answers.model_version, 'unknown'),
        coalesce(answers.variant, 'unknown'), coalesce(answers.rules, 'unknown'),
        coalesce(answers.placement, 'unknown'),
        coalesce(answers.device, 'unknown'), coalesce(products.item_category, 'unknown')
),

{% set figures_of = {
    'session_rows': [
        'sessions', 'viewing_sessions', 'carting_sessions', 'ordering_sessions', 'orders', 'order_revenue', 'events',
        'impression_events', 'click_events'
    ],
    'answer_rows': ['recommendations'],
    'item_rows': [
        'items_shown', 'items_clicked', 'items_carted', 'items_bought', 'units_bought', 'recommendation_revenue'
    ]
} -%}
parts as (
    {%- for rows in figures_of %}
    select
        part,
        shop_id,
        day,
        {%- for dimension in dimensions %}
        {{ dimension }}::varchar as {{ dimension }},
        {%- endfor %}
        {%- for figure in figures %}
        {{ figure if figure in figures_of[rows] else 0 }}::{{ figures[figure] }} as {{ figure }},
        {%- endfor %}
        staged_at
    from {{ rows }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    md5(
        parts.shop_id || chr(31) || parts.day::varchar || chr(31) || parts.part
        {%- for dimension in dimensions %}
        || chr(31) || coalesce(parts.{{ dimension }}, '')
        {%- endfor %}
    ) as daily_funnel_key,
    parts.shop_id,
    parts.day,
    parts.part,
    {%- for dimension in dimensions %}
    parts.{{ dimension }},
    {%- endfor %}
    {%- for figure in figures %}
    parts.{{ figure }},
    {%- endfor %}
    currencies.currency,
    parts.staged_at
from parts
left join {{ ref('int_shop_currencies') }} as currencies on parts.shop_id = currencies.shop_id
