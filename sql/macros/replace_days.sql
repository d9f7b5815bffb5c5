{# Incremental strategy `replace_days`: delete rows of the replaced days, then insert the model's rows.
   `meta.day` names the column of the day or the time. `meta.days` names the macro that lists the replaced days or ranges of
   time; without it, they are the days of the new rows. With a unique_key, only rows with the keys of the new rows are deleted, or with the keys that
   the macro `meta.keys` selects. #}
{% macro get_incremental_replace_days_sql(arguments) -%}
    {%- set meta = config.get('meta') -%}
    {%- set new_rows = arguments['temp_relation'] -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    {%- set key = arguments['unique_key'] -%}
    {%- if 'days' in meta -%}
        {%- set days = context[meta['days']]() -%}
    {%- else -%}
        {%- set days = distinct_days("select " ~ meta['day'] ~ " as day from " ~ new_rows) -%}
    {%- endif -%}
    {%- set dml -%}
        delete from {{ arguments['target_relation'] }}
        where
            {{ among(meta['day'], days) }}
            {%- if key %}
            and {{ key }} in (
                {{ context[meta['keys']]() if 'keys' in meta else "select " ~ key ~ " from " ~ new_rows }}
            )
            {%- endif %};

        insert into {{ arguments['target_relation'] }} ({{ columns }})
        select {{ columns }} from {{ new_rows }}
        -- Rows of a day in few micro-partitions, so that later filters by day skip the others.
        order by {{ meta['day'] }}
    {%- endset -%}
    {{ return(snowflake_dml_explicit_transaction(dml)) }}
{%- endmacro %}
