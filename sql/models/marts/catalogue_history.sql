-- A run rewrites the versions that hold at the time of the first unread feed or later, so the order of
-- loading does not matter. It reads only shops with unread feeds.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='shop_id',
    on_schema_change='fail',
    cluster_by=['valid_until_ms'],
    meta={'day': 'valid_until_ms', 'days': 'catalogue_times'},
    post_hook="{{ record_progress(ref('stg_catalogue')) }}"
) }}
{%- set times = catalogue_times() if is_incremental() else [] %}
{%- set first_ms = times[0][0] if times else 0 %}

with feed_rows as (
    select *
    from {{ ref('stg_catalogue') }}
    where
        imported_at_ms >= {{ first_ms }}
        {% if is_incremental() %}
        and shop_id in (
            select unread.shop_id from {{ ref('stg_catalogue') }} as unread
            where unread.staged_at > {{ watermark() }}
        )
        {% endif %}
    -- A catalogue loaded twice counts once. Changes of one moment all count, in the order of their files.
    qualify
        changed_fields is not null
        or row_number() over (
            partition by product_key, imported_at_ms, changed_fields is null
            order by loaded_at, catalogue_row_key
        ) = 1
),

listed as (
    select
        product_key,
        shop_id,
        item_id,
        {%- for field in var('product_fields') %}
        {{ field }},
        {%- endfor %}
        feed_id,
        imported_at_ms as valid_from_ms,
        not coalesce(is_deleted, false) as is_listed,
        -- The fields that the row states: all of them if null.
        changed_fields,
        catalogue_row_key
    from feed_rows
    {% if is_incremental() %}
    union all
    -- The versions that held when the first unread feed came.
    select
        product_key,
        shop_id,
        item_id,
        {%- for field in var('product_fields') %}
        {{ field }},
        {%- endfor %}
        feed_id,
        valid_from_ms,
        is_listed,
        null as changed_fields,
        '' as catalogue_row_key
    from {{ this }}
    where
        {{ among('valid_until_ms', times) }}
        and valid_from_ms < {{ first_ms }}
        and shop_id in (select feed_rows.shop_id from feed_rows)
    {% endif %}
),

complete_feeds as (
    select
        shop_id,
        feed_id,
        imported_at_ms
    from feed_rows
    where is_complete
    group by shop_id, feed_id, imported_at_ms
),

known as (
    select
        product_key,
        shop_id,
        item_id,
        min(valid_from_ms) as known_from_ms
    from listed
    group by product_key, shop_id, item_id
),

removed as (
    select
        known.product_key,
        known.shop_id,
        known.item_id,
        complete_feeds.feed_id,
        complete_feeds.imported_at_ms as valid_from_ms
    from known
    inner join complete_feeds
        on known.shop_id = complete_feeds.shop_id and known.known_from_ms < complete_feeds.imported_at_ms
    left join feed_rows
        on
            known.product_key = feed_rows.product_key
            and complete_feeds.imported_at_ms = feed_rows.imported_at_ms
    where feed_rows.product_key is null
),

observed as (
    select * from listed
    union all
    select
        product_key,
        shop_id,
        item_id,
        {%- for field in var('product_fields') %}
        null as {{ field }},
        {%- endfor %}
        feed_id,
        valid_from_ms,
        false as is_listed,
        -- A removed product keeps its description: the row states no field.
        '' as changed_fields,
        '' as catalogue_row_key
    from removed
),

-- Rows in their order, and per field the number of rows until now that state it.
counted as (
    select
        *,
        {%- for field in var('product_fields') %}
        count(iff(changed_fields is null or contains(changed_fields, ',{{ field }},'), 1, null)) over (
            partition by product_key
            order by valid_from_ms, changed_fields is not null, catalogue_row_key
            rows between unbounded preceding and current row
        ) as {{ field }}_stated,
        {%- endfor %}
        row_number() over (
            partition by product_key order by valid_from_ms, changed_fields is not null, catalogue_row_key
        ) as row_order
    from observed
),

-- A field has the value of the last row that states it, also if that value is none.
described as (
    select
        product_key,
        shop_id,
        item_id,
        {%- for field in var('product_fields') %}
        first_value({{ field }}) over (
            partition by product_key, {{ field }}_stated
            order by row_order
            rows between unbounded preceding and unbounded following
        ) as {{ field }},
        {%- endfor %}
        feed_id,
        valid_from_ms,
        is_listed,
        row_order
    from counted
),

fingerprinted as (
    select
        *,
        {{ fingerprint(var('product_fields')) }} as content
    from described
    -- Of several changes in one millisecond, the version after the last one counts.
    qualify row_number() over (partition by product_key, valid_from_ms order by row_order desc) = 1
),

changes as (
    select *
    from fingerprinted
    qualify
        content || is_listed::varchar is distinct from lag(content || is_listed::varchar) over (
            partition by product_key order by valid_from_ms
        )
)

select
    product_key || '-' || valid_from_ms::varchar as catalogue_version_key,
    product_key,
    shop_id,
    item_id,
    {%- for field in var('product_fields') %}
    {{ field }},
    {%- endfor %}
    content,
    feed_id,
    is_listed,
    valid_from_ms,
    lead(valid_from_ms, 1, {{ end_of_time_ms() }}) over (
        partition by product_key order by valid_from_ms
    )::bigint as valid_until_ms,
    date_trunc('millisecond', {{ statement_time() }}) as staged_at
from changes
order by valid_until_ms
