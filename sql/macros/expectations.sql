{# The least share of rows that must keep to an expectation: the shop's limit (QA.LIMITS) if Validate found one, else `mostly`.
   `model` is the node of the test here, as no argument has that name. #}
{% macro least_share(mostly) -%}
    {{ return((var('limits') or {}).get(model.name, mostly)) }}
{%- endmacro %}

{# The rows of a relation (a table, or a subquery with its alias) that break a condition, if more of them do than `mostly` allows. As in Great Expectations, a
   condition that is null, because the column is null, is not broken. #}
{% macro unexpected_rows(relation, condition, mostly, row_condition) -%}
    {%- set least = least_share(mostly) -%}
    {%- if least >= 1 -%}
        select * from {{ relation }}
        where {{ row_condition }} and not ({{ condition }})
    {%- else -%}
        with judged as (
            select *, iff(not ({{ condition }}), 1, 0) as is_unexpected
            from {{ relation }}
            where {{ row_condition }}
        ),

        counted as (
            select *, sum(is_unexpected) over () as unexpected_rows, count(*) over () as judged_rows from judged
        )

        select * from counted
        where is_unexpected = 1 and judged_rows - unexpected_rows < {{ least }} * judged_rows
    {%- endif -%}
{%- endmacro %}
