{# The rows of the CTE `valid_touches`, with the order lines of the CTE `credited_lines` that count for them. #}
{% macro counted_touches() -%}
    select
        valid_touches.*,
        -- A page can claim many orders with one receipt, so a receipt counts each item in one order.
        credited_lines.touch_key is not null
        and row_number() over (
            partition by valid_touches.recommendation_key, valid_touches.item_id
            order by
                iff(credited_lines.touch_key is null, 1, 0) asc,
                coalesce(credited_lines.confirmed_revenue, 0) desc,
                valid_touches.event_time_ms asc,
                valid_touches.event_key asc
        ) = 1 as is_bought,
        coalesce(credited_lines.revenue, 0) as revenue,
        coalesce(credited_lines.confirmed_revenue, 0) as confirmed_revenue,
        coalesce(credited_lines.units, 0) as units
    from valid_touches
    left join credited_lines on valid_touches.touch_key = credited_lines.touch_key
{%- endmacro %}
