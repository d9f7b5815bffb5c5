{# Schemas are named as they are: dbt would prefix them with the profile's own. #}
{% macro generate_schema_name(custom_name, node) %}{{ custom_name or target.schema }}{% endmacro %}
