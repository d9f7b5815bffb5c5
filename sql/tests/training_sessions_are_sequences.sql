-- Every training session has at least two interactions, at positions 0, 1, 2 ... without a gap.
select
    session_key,
    count(*) as interactions,
    count(distinct position) as positions,
    min(position) as first_position,
    max(position) as last_position
from {{ ref('training_interactions') }}
where {{ new_rows() }}
group by session_key
having
    count(*) < 2
    or count(distinct position) != count(*)
    or min(position) != 0
    or max(position) != count(*) - 1
