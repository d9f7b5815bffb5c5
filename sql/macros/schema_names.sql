{# Schema names are used as they are; by default dbt prefixes them with the profile's schema. #}
{% macro generate_schema_name(custom_name, node) %}{{ custom_name or target.schema }}{% endmacro %}
