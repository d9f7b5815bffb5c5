{# The start of the statement in UTC, the same for all of its rows. sysdate() can differ from row to row. #}
{% macro statement_time() %}convert_timezone('UTC', current_timestamp())::timestamp_ntz{% endmacro %}
