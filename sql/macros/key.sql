{# One column that is unique if the combination of the given columns is. Ids have no control characters
   (contracts/event.schema.json), so the separator distinguishes 'a','bc' from 'ab','c'. #}
{% macro key(columns) %}md5({{ columns | join(" || chr(31) || ") }}){% endmacro %}
