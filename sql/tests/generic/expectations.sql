{# Expectations of columns, with the names and arguments of Great Expectations and dbt-expectations. Each selects the rows
   that break it. `mostly` is the least share of rows that must keep to it, and `row_condition` selects the rows that are
   judged. Give each use a `name`: limits per shop and overrides refer to it. #}

{% test expect_column_values_to_not_be_null(model, column_name, mostly=1, row_condition='true') %}
    {{ unexpected_rows(model, column_name ~ ' is not null', mostly, row_condition) }}
{% endtest %}

{% test expect_column_values_to_be_between(
    model, column_name, min_value=none, max_value=none, strict_min=false, strict_max=false, mostly=1, row_condition='true'
) %}
    {%- set bounds = [] -%}
    {%- if min_value is not none -%}
        {%- do bounds.append(column_name ~ (' > ' if strict_min else ' >= ') ~ min_value) -%}
    {%- endif -%}
    {%- if max_value is not none -%}
        {%- do bounds.append(column_name ~ (' < ' if strict_max else ' <= ') ~ max_value) -%}
    {%- endif -%}
    {%- if not bounds -%}
        {{ exceptions.raise_compiler_error("expect_column_values_to_be_between needs min_value or max_value") }}
    {%- endif -%}
    {{ unexpected_rows(model, bounds | join(' and '), mostly, row_condition) }}
{% endtest %}

{% test expect_column_values_to_be_in_set(model, column_name, value_set, mostly=1, row_condition='true') %}
    {%- set quoted = [] -%}
    {%- for value in value_set -%}
        {%- do quoted.append(("'" ~ value | replace("'", "''") ~ "'") if value is string else value | string) -%}
    {%- endfor -%}
    {{ unexpected_rows(model, column_name ~ ' in (' ~ quoted | join(', ') ~ ')', mostly, row_condition) }}
{% endtest %}

{# The expression must match the whole value, as Snowflake's REGEXP_LIKE does. #}
{% test expect_column_values_to_match_regex(model, column_name, regex, mostly=1, row_condition='true') %}
    {{ unexpected_rows(model, "regexp_like(" ~ column_name ~ ", '" ~ regex ~ "')", mostly, row_condition) }}
{% endtest %}

{% test expect_column_value_lengths_to_be_between(
    model, column_name, min_value=0, max_value=none, mostly=1, row_condition='true'
) %}
    {%- set most = ' and length(' ~ column_name ~ ') <= ' ~ max_value if max_value is not none else '' -%}
    {{ unexpected_rows(model, 'length(' ~ column_name ~ ') >= ' ~ min_value ~ most, mostly, row_condition) }}
{% endtest %}

{# In the order of `sort_column`, and within equal values of the columns `group_by`, no value is smaller than the one before. #}
{% test expect_column_values_to_be_increasing(
    model, column_name, sort_column, group_by=[], strictly=false, mostly=1, row_condition='true'
) %}
    {%- set groups = 'partition by ' ~ group_by | join(', ') if group_by else '' -%}
    {%- set ordered -%}
        (
            select *, lag({{ column_name }}) over ({{ groups }} order by {{ sort_column }}) as previous_value
            from {{ model }}
        ) as ordered
    {%- endset -%}
    {{ unexpected_rows(ordered, column_name ~ (' > ' if strictly else ' >= ') ~ 'previous_value', mostly, row_condition) }}
{% endtest %}

{% test expect_compound_columns_to_be_unique(model, column_list, mostly=1, row_condition='true') %}
    {%- set counted -%}
        (select *, count(*) over (partition by {{ column_list | join(', ') }}) as copies from {{ model }}) as counted_rows
    {%- endset -%}
    {{ unexpected_rows(counted, 'copies = 1', mostly, row_condition) }}
{% endtest %}

{% test expect_column_pair_values_a_to_be_greater_than_b(
    model, column_A, column_B, or_equal=false, mostly=1, row_condition='true'
) %}
    {{ unexpected_rows(model, column_A ~ (' >= ' if or_equal else ' > ') ~ column_B, mostly, row_condition) }}
{% endtest %}
