{# What an incremental run reads and replaces. Each list covers every row that can have changed. #}

{# How far a session can reach before or after one of its events. #}
{% macro session_reach_ms(sessions) -%}
    {%- if not execute -%}{{ return(0) }}{%- endif -%}
    {%- set longest_ms = scalar("select max(session_age_ms) from " ~ sessions) or 0 -%}
    {{ return((longest_ms | int) + (var('session_gap_minutes') | int) * 60000) }}
{%- endmacro %}

{# New events, and as far around them as a session reaches: a late event can join two sessions. #}
{% macro event_times() -%}
    {{ return(widened(unread_times(ref('stg_events'), 'event_time_ms'), session_reach_ms(this))) }}
{%- endmacro %}

{# The times at which a changed session starts, or could start before it changed. A changed order changes the session of
   each of its reports, however old. #}
{% macro session_times() -%}
    {%- set sessions = ref('int_session_events') -%}
    {%- set times = unread_times(sessions, 'event_time_ms') + order_times() -%}
    {{ return(widened(times | sort, session_reach_ms(sessions))) }}
{%- endmacro %}

{# Clients with sessions that this model has not read, or with a report of a changed order. #}
{% macro changed_clients() -%}
    select client_key from {{ ref('int_session_events') }}
    where staged_at > {{ watermark() }}
    union all
    select client_key from {{ ref('int_order_reports') }}
    where order_key in ({{ changed_orders() }})
{%- endmacro %}

{# The days of changed sessions. #}
{% macro started_days() -%}
    {%- set reach_ms = session_reach_ms(ref('int_session_events')) -%}
    {{ return(dates_of(widened(unread_times(ref('sessions'), 'started_at_ms'), reach_ms))) }}
{%- endmacro %}

{# Orders with a report that this model has not read. A shop's new currency changes all of its orders. #}
{% macro changed_orders() -%}
    {%- set condition = "staged_at > " ~ watermark() -%}
    {%- if execute -%}
        {%- set query = "select shop_id from " ~ ref('int_shop_currencies') ~ " where staged_at > " ~ watermark() -%}
        {%- set shops = [] -%}
        {%- for shop_id in run_query(query).columns[0].values() -%}
            {%- do shops.append("'" ~ shop_id | replace("'", "''") ~ "'") -%}
        {%- endfor -%}
        {%- if shops -%}
            {%- set condition = "(" ~ condition ~ " or shop_id in (" ~ shops | join(", ") ~ "))" -%}
        {%- endif -%}
    {%- endif -%}
    select order_key from {{ ref('int_order_reports') }} where {{ condition }}
{%- endmacro %}

{# The days with a report of these orders, however old. Of the reports of all days, it reads two columns. #}
{% macro report_days(orders) -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set reports = "select event_date as day from " ~ ref('int_order_reports') ~ " where order_key in (" ~ orders ~ ")" -%}
    {{ return(distinct_days(reports)) }}
{%- endmacro %}

{% macro order_days() -%}{{ return(report_days(changed_orders())) }}{%- endmacro %}

{# The first and the last time, per day, of the reports of changed orders. #}
{% macro order_times() -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {{ return(times_per_day(ref('int_order_reports'), 'event_time_ms', "order_key in (" ~ changed_orders() ~ ")")) }}
{%- endmacro %}

{# Changed orders, and orders with a touch that this model has not read: a receipt can be verified later. #}
{% macro touched_orders() -%}
    {%- set unread = "staged_at > " ~ watermark() ~ " and order_key is not null" -%}
    {{ changed_orders() }} or order_key in (select order_key from {{ ref('int_touches') }} where {{ unread }})
{%- endmacro %}

{# Filter: rows of touched orders on these days. #}
{% macro of_touched_orders(column, days) -%}
    {{ among(column, days) }} and order_key in ({{ touched_orders() }})
{%- endmacro %}

{% macro touched_order_days() -%}{{ return(report_days(touched_orders())) }}{%- endmacro %}

{# The days of recommendations with new touches, or with a touch of a touched order, at most a day before it. #}
{% macro touch_days() -%}
    {%- set days = unread_days(ref('int_touches'), ['day']) + around(touched_order_days(), 1) -%}
    {{ return(days | unique | sort) }}
{%- endmacro %}

{# A touch that is verified later moves from the day of its event to the day of its recommendation. #}
{% macro outcome_days() -%}
    {%- set of_touches = unread_days(ref('int_touches'), ['day', 'event_date']) -%}
    {{ return((of_touches + unread_days(ref('recommendations'), ['issued_on'])) | unique | sort) }}
{%- endmacro %}

{# The days of changed sessions and of changed outcomes. #}
{% macro funnel_days() -%}
    {{ return((started_days() + outcome_days()) | unique | sort) }}
{%- endmacro %}
