{# The day of the event by the client's clock, as a number of days since 1970. Copies of an event have the same one. #}
{% macro client_day() -%}
    floor(
        coalesce(
            payload:client_time_ms::bigint,
            payload:server.event_time_ms::bigint,
            payload:server.received_at_ms::bigint
        ) / 86400000
    )::int
{%- endmacro %}

{# The distinct client days of rows of RAW. #}
{% macro raw_client_days(condition) -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set rows = "select " ~ client_day() ~ " as day from " ~ source('raw', 'events') ~ " where " ~ condition -%}
    {{ return(distinct_days(rows)) }}
{%- endmacro %}
