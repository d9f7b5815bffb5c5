{# Filter: the column is one of these values, or in one of these ranges. #}
{% macro among(column, values) -%}
    {%- set ranges = [] -%}
    {%- set constants = [] -%}
    {%- for value in values -%}
        {%- if value is string -%}
            {%- do constants.append("'" ~ value ~ "'::date") -%}
        {%- elif value is number -%}
            {%- do constants.append(value | string) -%}
        {%- else -%}
            {%- do ranges.append(column ~ " between " ~ value[0] ~ " and " ~ value[1]) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if ranges -%}
        ({{ ranges | join(" or ") }})
    {%- elif constants | length > 1000 -%}
        {#- Snowflake limits the length of a list. -#}
        {{ column }} between {{ constants | first }} and {{ constants | last }}
    {%- elif constants -%}
        {{ column }} in ({{ constants | join(", ") }})
    {%- else -%}
        false
    {%- endif -%}
{%- endmacro %}

{# Ranges of milliseconds, each longer by `reach_ms` at both ends, joined where they overlap. One client can send events of
   thousands of days, and a statement has a largest size. So more than 500 ranges are widened further, until they join. #}
{% macro widened(times, reach_ms) -%}
    {%- set found = namespace(ranges=none) -%}
    {%- for step in range(16) if found.ranges is none or found.ranges | length > 500 -%}
        {%- set reach = reach_ms if step == 0 else ([reach_ms, 3600000] | max) * 4 ** step -%}
        {%- set joined = [] -%}
        {%- for first_ms, last_ms in times -%}
            {%- if joined and first_ms - reach <= joined[-1][1] -%}
                {%- do joined[-1].insert(1, [joined[-1][1], last_ms + reach] | max) -%}
                {%- do joined[-1].pop() -%}
            {%- else -%}
                {%- do joined.append([first_ms - reach, last_ms + reach]) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- set found.ranges = joined -%}
    {%- endfor -%}
    {{ return(found.ranges) }}
{%- endmacro %}

{# The dates in ranges of milliseconds. #}
{% macro dates_of(times) -%}
    {%- set found = {} -%}
    {%- for first_ms, last_ms in times -%}
        {%- for number in range(first_ms // 86400000, last_ms // 86400000 + 1) -%}
            {%- set date = modules.datetime.date(1970, 1, 1) + modules.datetime.timedelta(days=number) -%}
            {%- do found.update({date.isoformat(): true}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found.keys() | sort) }}
{%- endmacro %}

{# Dates with `reach` days before and after each. #}
{% macro around(dates, reach) -%}
    {%- set found = {} -%}
    {%- for date in dates -%}
        {%- for shift in range(-reach, reach + 1) -%}
            {%- set day = modules.datetime.date.fromisoformat(date) + modules.datetime.timedelta(days=shift) -%}
            {%- do found.update({day.isoformat(): true}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found.keys() | sort) }}
{%- endmacro %}
