-- Insert-only: a line of a feed never changes, so a run reads only newly loaded rows.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    cluster_by=['imported_at_ms'],
    post_hook="{{ record_progress(source('raw', 'catalogue'), 'loaded_at') }}"
) }}
{%- set unread_raw = unread_rows_of_raw(is_incremental()) %}

with raw_products as (
    select
        payload,
        filename,
        row_number as line_number,
        loaded_at
    from {{ source('raw', 'catalogue') }}
    where {{ unread_raw }}
),

typed as (
    select
        payload:shop_id::varchar as shop_id,
        payload:item_id::varchar as item_id,
        payload:title::varchar as title,
        payload:url::varchar as url,
        payload:image_url::varchar as image_url,
        payload:price::float as price,
        payload:sale_price::float as sale_price,
        payload:sale_starts_at_ms::bigint as sale_starts_at_ms,
        payload:sale_ends_at_ms::bigint as sale_ends_at_ms,
        payload:currency::varchar as currency,
        payload:availability::varchar as availability,
        payload:category::varchar as category,
        payload:brand::varchar as brand,
        payload:gtin::varchar as gtin,
        payload:item_group_id::varchar as item_group_id,
        payload:condition::varchar as condition,
        payload:cost::float as cost,
        payload:attributes as attributes,
        payload:feed.feed_id::varchar as feed_id,
        payload:feed.imported_at_ms::bigint as imported_at_ms,
        coalesce(payload:feed.complete::boolean, false) as is_complete,
        payload:feed.changes::varchar as changed_fields,
        coalesce(payload:feed.deleted::boolean, false) as is_deleted,
        filename,
        line_number,
        loaded_at
    from raw_products
),

identified as (
    select
        filename || '-' || line_number::varchar as catalogue_row_key,
        {{ key(['shop_id', 'item_id']) }} as product_key,
        *,
        {{ fingerprint(var('product_fields')) }} as content
    from typed
    where
        shop_id is not null
        and item_id is not null
        and imported_at_ms is not null
        and (title is not null or changed_fields is not null)
),

new_rows as (
    select identified.*
    from identified
    {% if is_incremental() %}
    -- The overlap reads some rows again.
    left join {{ this }} as staged
        on
            identified.catalogue_row_key = staged.catalogue_row_key
            and staged.{{ unread_raw }}
    where staged.catalogue_row_key is null
    {% endif %}
)

select
    catalogue_row_key,
    product_key,
    shop_id,
    item_id,
    {%- for field in var('product_fields') %}
    {{ field }},
    {%- endfor %}
    content,
    feed_id,
    imported_at_ms,
    is_complete,
    changed_fields,
    is_deleted,
    loaded_at,
    date_trunc('millisecond', {{ statement_time() }}) as staged_at
from new_rows
order by imported_at_ms
