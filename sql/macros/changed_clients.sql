{# Clients with events that this model has not read yet. Sessions are rebuilt for a whole client: one late
   event can join two of its sessions or open a new one. Staging stamps each event with its run's time. #}
{% macro changed_clients(relation) -%}
    select distinct client_key
    from {{ relation }}
    where staged_at > (select coalesce(max(staged_at), '1970-01-01'::timestamp_ntz) from {{ this }})
{%- endmacro %}
