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

{# The times at which a changed session starts, or could start before it changed. #}
{% macro session_times() -%}
    {%- set sessions = ref('int_session_events') -%}
    {{ return(widened(unread_times(sessions, 'event_time_ms'), session_reach_ms(sessions))) }}
{%- endmacro %}

{# Clients with sessions that this model has not read. #}
{% macro changed_clients() -%}
    select client_key from {{ ref('int_session_events') }}
    where staged_at > {{ watermark() }}
{%- endmacro %}

{# The days of changed sessions. #}
{% macro started_days() -%}
    {%- set reach_ms = session_reach_ms(ref('int_session_events')) -%}
    {{ return(dates_of(widened(unread_times(ref('sessions'), 'started_at_ms'), reach_ms))) }}
{%- endmacro %}

{# A valid touch is at most a day away from its recommendation, and an order's repeats are near its first report. #}
{% macro touch_days() -%}
    {{ return(around(unread_days(ref('int_touches'), ['day']), 2 * ((var('order_repeat_days') | int) + 1))) }}
{%- endmacro %}

{# A touch that is verified later moves from the day of its event to the day of its recommendation. #}
{% macro outcome_days() -%}
    {%- set of_touches = unread_days(ref('int_touches'), ['day', 'event_date']) -%}
    {{ return((of_touches + unread_days(ref('recommendations'), ['issued_on'])) | unique | sort) }}
{%- endmacro %}

{# The days on which an earlier report of a new order can be. #}
{% macro order_days() -%}
    {{ return(around(unread_days(ref('int_item_events'), ['event_date']), var('order_repeat_days') | int)) }}
{%- endmacro %}
