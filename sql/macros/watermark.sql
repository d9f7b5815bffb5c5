{# Constants for filters. Snowflake skips micro-partitions by constants, not by the results of subqueries, so these macros
   query the values first. The largest value of a column comes from metadata, without a scan. #}

{# One value, or none. #}
{% macro scalar(query) -%}
    {{ return(run_query(query).columns[0].values()[0]) }}
{%- endmacro %}

{% macro progress() -%}
    {{ target.database }}.INTERMEDIATE.PROGRESS
{%- endmacro %}

{# The rows of a model do not show how far it has read: it can read rows and keep none of them. #}
{% macro create_progress() -%}
    create table if not exists {{ progress() }} (
        MODEL varchar comment 'Name of the model',
        READ_UNTIL timestamp_ntz comment 'Time of the newest row of its source that it has read'
    )
{%- endmacro %}

{# Hook after a model: it has read `relation`, and the relation or relations `also`, to the end. #}
{% macro record_progress(relation, column='staged_at', also=none) -%}
    merge into {{ progress() }} as done
    using (select '{{ this.name }}' as model, {{ newest(relation, also, column) }} as read_until) as new
        on done.model = new.model
    when matched then update set read_until = new.read_until
    when not matched then insert (model, read_until) values (new.model, new.read_until)
{%- endmacro %}

{% macro as_time(value) -%}
    '{{ value.isoformat(sep=" ") if value else "1970-01-01" }}'::timestamp_ntz
{%- endmacro %}

{# The time of the newest row of a relation, and of the relation or relations `also`, as a constant. #}
{% macro newest(relation, also=none, column='staged_at') -%}
    {%- if not execute -%}{{ return(as_time(none)) }}{%- endif -%}
    {%- set others = [] if also is none else also if also is sequence else [also] -%}
    {%- set times = [] -%}
    {%- for one in [relation] + others -%}
        {%- do times.append(scalar("select max(" ~ column ~ ") from " ~ one)) -%}
    {%- endfor -%}
    {%- set found = times | reject("none") | list -%}
    {{ return(as_time((found | max) if found else none)) }}
{%- endmacro %}

{# The time up to which this model has read its source. A model asks up to ten times before it writes. So the answer, which
   takes two statements, is kept in the dictionary that dbt makes of the model for each rendering. #}
{% macro watermark(column='staged_at', minus_hours=0) -%}
    {%- if not execute -%}{{ return(as_time(none)) }}{%- endif -%}
    {%- set known = model.setdefault('read_until', {}) -%}
    {%- if column not in known -%}
        {%- set own = scalar("select max(" ~ column ~ ") from " ~ this) -%}
        {%- set recorded = scalar("select max(read_until) from " ~ progress() ~ " where model = '" ~ this.name ~ "'") -%}
        {%- set times = [own, recorded] | reject("none") | list -%}
        {%- do known.update({column: times | max if times else none}) -%}
    {%- endif -%}
    {%- if not known[column] -%}{{ return(as_time(none)) }}{%- endif -%}
    {{ return(as_time(known[column] - modules.datetime.timedelta(hours=minus_hours))) }}
{%- endmacro %}

{# The distinct values of columns of days in the rows that this model has not read, sorted. #}
{% macro unread_days(relation, columns) -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set selects = [] -%}
    {%- for column in columns -%}
        {%- do selects.append("select " ~ column ~ " as day from " ~ relation ~ " where staged_at > " ~ watermark()) -%}
    {%- endfor -%}
    {{ return(distinct_days(selects | join(" union all "))) }}
{%- endmacro %}

{% macro distinct_days(query) -%}
    {%- set found = [] -%}
    {%- for day in run_query("select distinct day from (" ~ query ~ ") as days where day is not null").columns[0].values() -%}
        {%- do found.append((day | int) if day is number else (day | string)[:10]) -%}
    {%- endfor -%}
    {{ return(found | sort) }}
{%- endmacro %}

{# The first and the last time, per day, of the rows that this model has not read. `column` is in milliseconds. #}
{% macro unread_times(relation, column) -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {{ return(times_per_day(relation, column, "staged_at > " ~ watermark())) }}
{%- endmacro %}

{# The first and the last time, per day, of some rows. #}
{% macro times_per_day(relation, column, condition) -%}
    {%- set query -%}
        select min({{ column }}) as first_ms, max({{ column }}) as last_ms
        from {{ relation }}
        where {{ condition }}
        group by floor({{ column }} / 86400000)
        order by 1
    {%- endset -%}
    {%- set times = [] -%}
    {%- for row in run_query(query).rows -%}
        {%- do times.append([row[0] | int, row[1] | int]) -%}
    {%- endfor -%}
    {{ return(times) }}
{%- endmacro %}

{# Rows of a RAW table that this model has not read, with those of the overlap again. A model's unit tests replace
   is_incremental for the model only, so it passes the value. #}
{% macro unread_rows_of_raw(incremental) -%}
    {%- if not incremental -%}
        {{ return("true") }}
    {%- endif -%}
    {{ return("loaded_at > " ~ watermark('loaded_at', var('load_overlap_hours'))) }}
{%- endmacro %}
