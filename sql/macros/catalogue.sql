{# One value that differs if a column differs. Ids and texts have no such control characters. #}
{% macro fingerprint(columns) -%}
    md5(
        {%- for column in columns %}
        coalesce({{ column }}::varchar, chr(30)) {{ '|| chr(31) ||' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{# The first and the last time that unread rows of catalogue feeds can change. Versions that ended before are final. #}
{% macro catalogue_times() -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set query = "select min(imported_at_ms) from " ~ ref('stg_catalogue') ~ " where staged_at > " ~ watermark() -%}
    {%- set first_ms = scalar(query) -%}
    {{ return([] if first_ms is none else [[first_ms | int, end_of_time_ms()]]) }}
{%- endmacro %}

{# The end of a version that still holds: 9999-12-31 23:59:59 UTC. #}
{% macro end_of_time_ms() -%}{{ return(253402300799000) }}{%- endmacro %}
