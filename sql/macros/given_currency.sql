{# The currency that the stage sets for the shop, else the usual one. #}
{% macro given_currency() -%}
    {%- set currencies = var('currencies') -%}
    {%- if not currencies -%}
        currency
    {%- else -%}
        case shop_id
            {%- for shop in currencies %}
            when '{{ shop }}' then '{{ currencies[shop] }}'
            {%- endfor %}
            else currency
        end
    {%- endif -%}
{%- endmacro %}
