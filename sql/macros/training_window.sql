{# The newest day of each shop as rows (shop_id, day). One client with a wrong clock must not move it past all others: a day of few clients counts
   only if all days of the shop are such. #}
{% macro newest_days() -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set newest = "select shop_id, coalesce(max(iff(clients >= " ~ var('sharing_clients') ~ ", day, null)), max(day)) as day from " ~ ref('daily_kpis')
        ~ " group by shop_id" -%}
    {{ return(run_query(newest).rows) }}
{%- endmacro %}

{# Filter: the last `days` days of each shop, `training_days` if not given, by its own newest day. `newest` are the `newest_days()`, for a model
   that filters several times. #}
{% macro in_training_window(shop, date, days=none, newest=none) -%}
    {%- if not execute -%}{{ return("true") }}{%- endif -%}
    {%- set shops = [] -%}
    {%- for row in (newest_days() if newest is none else newest) -%}
        {%- set first = modules.datetime.date.fromisoformat((row[1] | string)[:10])
            - modules.datetime.timedelta(days=(days or var('training_days')) - 1) -%}
        {%- do shops.append("(" ~ shop ~ " = '" ~ row[0] | replace("'", "''") ~ "' and " ~ date ~ " >= '" ~ first ~ "'::date)") -%}
    {%- endfor -%}
    ({{ shops | join(" or ") or "false" }})
{%- endmacro %}
