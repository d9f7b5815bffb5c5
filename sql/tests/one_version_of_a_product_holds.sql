-- Each product of a catalogue has exactly one version that holds, and no two versions at the same time.
with versions as (
    select
        product_key,
        valid_from_ms,
        valid_until_ms,
        lead(valid_from_ms) over (partition by product_key order by valid_from_ms) as next_from_ms
    from {{ ref('catalogue_history') }}
    where {{ of_tested_shop() }}
)

select *
from versions
where
    valid_from_ms >= valid_until_ms
    or (next_from_ms is null and valid_until_ms != {{ end_of_time_ms() }})
    or next_from_ms != valid_until_ms
