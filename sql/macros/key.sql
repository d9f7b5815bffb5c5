{# One column that is unique where the given columns are together. Ids hold no control characters
   (contracts/event.schema.json), so the separator keeps 'a','bc' apart from 'ab','c'. #}
{% macro key(columns) %}md5({{ columns | join(" || chr(31) || ") }}){% endmacro %}
