{# Filter: the rows of the shop that Validate tests; without `tested_shop`, the rows of every shop. #}
{% macro of_tested_shop() -%}
    {{ "shop_id = '" ~ var("tested_shop") ~ "'" if var("tested_shop", "") else "true" }}
{%- endmacro %}

{# Filter: the rows that Validate has not tested, or every row without `tested_until`. #}
{% macro new_rows() -%}
    staged_at > '{{ var("tested_until", "1970-01-01") }}'::timestamp_ntz and {{ of_tested_shop() }}
{%- endmacro %}

{# dbt reads the `where` of a test when it parses the project, and calls this macro when it compiles the test:
   https://docs.getdbt.com/reference/resource-configs/where#custom-logic #}
{% macro get_where_subquery(relation) -%}
    {%- set where = (config.get('where') or 'true') | replace('__new_rows__', new_rows()) | replace('__tested_shop__', of_tested_shop()) -%}
    {{ return("(select * from " ~ relation ~ " where " ~ where ~ ") as dbt_subquery") }}
{%- endmacro %}
