-- The linter cannot indent what loops over metrics write.
-- noqa: disable=LT02,LT05
-- Rebuilt each night from a few rows per day: one per arm.
{%- set metrics = {'click': 'clickers', 'cart': 'cart_visitors', 'order': 'buyers', 'revenue': 'buyers'} %}
{%- set counts = [
    'visitors', 'fallback_visitors', 'empty_visitors', 'clickers', 'cart_visitors', 'buyers', 'orders',
    'revenue', 'revenue_squares'
] %}
{%- set prior = var('experiment_ratio_prior') %}
{%- set least_outcomes = var('experiment_least_outcomes') %}
{%- set outcome_days = var('experiment_outcome_days') %}

with arms as (
    select
        shop_id,
        experiment,
        arm,
        max_by(share, exposed_on)::float / 10000 as share,
        max_by(control_arm, exposed_on) as control_arm,
        count(*) over (partition by shop_id, experiment) as arms
    from {{ ref('int_experiment_days') }}
    group by shop_id, experiment, arm
),

days as (
    select distinct
        shop_id,
        experiment,
        exposed_on as day
    from {{ ref('int_experiment_days') }}
),

newest_days as (
    select
        shop_id,
        max(day) as newest_day
    from {{ ref('daily_kpis') }}
    group by shop_id
),

to_date as (
    select
        arms.shop_id,
        arms.experiment,
        arms.arm,
        arms.share,
        arms.control_arm,
        days.day,
        {%- for count in counts %}
        sum(coalesce(counted.{{ count }}, 0)::float) over (
            partition by arms.shop_id, arms.experiment, arms.arm order by days.day
            rows between unbounded preceding and current row
        ) as {{ count }},
        {%- endfor %}
        {{ var('experiment_alpha') }}::float / greatest(arms.arms - 1, 1) as alpha
    from arms
    inner join days
        on
            arms.shop_id = days.shop_id
            and arms.experiment = days.experiment
    left join {{ ref('int_experiment_days') }} as counted
        on
            arms.shop_id = counted.shop_id
            and arms.experiment = counted.experiment
            and arms.arm = counted.arm
            and days.day = counted.exposed_on
),

moments as (
    select
        *,
        {%- for metric in metrics if metric != 'revenue' %}
        {{ metrics[metric] }} / nullif(visitors, 0) as {{ metric }}_mean,
        {{ metrics[metric] }} * (1 - {{ metrics[metric] }} / nullif(visitors, 0)) / nullif(visitors - 1, 0)
            as {{ metric }}_variance,
        {%- endfor %}
        revenue / nullif(visitors, 0) as revenue_mean,
        greatest(revenue_squares - revenue * revenue / nullif(visitors, 0), 0) / nullif(visitors - 1, 0)
            as revenue_variance
    from to_date
),

-- Lindon and Malek: under the configured shares, the odds of other shares are a martingale.
-- An arm without visitors adds nothing to the sum, and its share is missing in the others'.
weights as (
    select
        shop_id,
        experiment,
        day,
        visitors,
        share,
        share * {{ prior }} as weight,
        visitors + share * {{ prior }} as counted,
        sum(visitors) over (partition by shop_id, experiment, day) + {{ prior }}::float as total,
        {{ prior }}::float as prior_total
    from to_date
),

ratios as (
    select
        shop_id,
        experiment,
        day,
        {{ ln_gamma("prior_total") }} - {{ ln_gamma("total") }}
        + sum({{ ln_gamma("counted") }} - {{ ln_gamma("weight") }} - visitors * ln(share)) as ln_odds
    from weights
    group by shop_id, experiment, day, total, prior_total
),

ratio_tests as (
    select
        shop_id,
        experiment,
        day,
        exp(
            -greatest(
                max(ln_odds) over (
                    partition by shop_id, experiment order by day
                    rows between unbounded preceding and current row
                ),
                0
            )
        ) as p_value
    from ratios
),

compared as (
    select
        {%- for metric in metrics %}
        control.{{ metric }}_mean as control_{{ metric }}_mean,
        arms.{{ metric }}_mean - control.{{ metric }}_mean as {{ metric }}_difference,
        sqrt(
            (arms.visitors + control.visitors)
            * (
                arms.{{ metric }}_variance / nullif(arms.visitors, 0)
                + control.{{ metric }}_variance / nullif(control.visitors, 0)
            )
        ) as {{ metric }}_deviation,
        -- The delta method: the control's mean is an estimate too.
        sqrt(
            (arms.visitors + control.visitors)
            * (
                arms.{{ metric }}_variance / nullif(arms.visitors, 0)
                + power(arms.{{ metric }}_mean / nullif(control.{{ metric }}_mean, 0), 2)
                * control.{{ metric }}_variance / nullif(control.visitors, 0)
            )
        ) / abs(nullif(control.{{ metric }}_mean, 0)) as {{ metric }}_lift_deviation,
        -- Of few outcomes the variance is not known well, and the interval would be too narrow.
        iff(
            least(arms.{{ metrics[metric] }}, control.{{ metrics[metric] }}) >= {{ least_outcomes }},
            {{ sequence_margin("(arms.visitors + control.visitors)", "arms.alpha") }},
            null
        ) as {{ metric }}_margin,
        {%- endfor %}
        arms.*
    from moments as arms
    left join moments as control
        on
            arms.shop_id = control.shop_id
            and arms.experiment = control.experiment
            and arms.day = control.day
            and arms.control_arm = control.arm
            and arms.arm != control.arm
)

select
    {{ key(['compared.shop_id', 'compared.experiment', 'compared.arm', 'compared.day::varchar']) }}
        as experiment_result_key,
    compared.shop_id,
    compared.experiment,
    compared.arm,
    compared.day,
    compared.control_arm,
    compared.arm = compared.control_arm as is_control,
    compared.share,
    dateadd('day', {{ outcome_days }}, compared.day) <= newest_days.newest_day as is_complete,
    compared.visitors::int as visitors,
    compared.clickers::int as clickers,
    compared.cart_visitors::int as cart_visitors,
    compared.buyers::int as buyers,
    compared.orders::int as orders,
    compared.revenue::float as revenue,
    compared.click_mean::float as click_rate,
    compared.cart_mean::float as cart_rate,
    compared.order_mean::float as order_rate,
    compared.revenue_mean::float as revenue_per_visitor,
    compared.revenue_variance::float as revenue_variance,
    {%- for metric in metrics %}
    compared.{{ metric }}_difference::float as {{ metric }}_difference,
    (
        compared.{{ metric }}_difference
        - nullif(compared.{{ metric }}_deviation, 0) * compared.{{ metric }}_margin
    )::float as {{ metric }}_difference_low,
    (
        compared.{{ metric }}_difference
        + nullif(compared.{{ metric }}_deviation, 0) * compared.{{ metric }}_margin
    )::float as {{ metric }}_difference_high,
    (
        compared.{{ metric }}_difference / nullif(compared.control_{{ metric }}_mean, 0)
    )::float as {{ metric }}_lift,
    (
        compared.{{ metric }}_difference / nullif(compared.control_{{ metric }}_mean, 0)
        - nullif(compared.{{ metric }}_lift_deviation, 0) * compared.{{ metric }}_margin
    )::float as {{ metric }}_lift_low,
    (
        compared.{{ metric }}_difference / nullif(compared.control_{{ metric }}_mean, 0)
        + nullif(compared.{{ metric }}_lift_deviation, 0) * compared.{{ metric }}_margin
    )::float as {{ metric }}_lift_high,
    {%- endfor %}
    ratio_tests.p_value::float as sample_ratio_p_value,
    (compared.fallback_visitors / nullif(compared.visitors, 0))::float as fallback_share,
    (compared.empty_visitors / nullif(compared.visitors, 0))::float as empty_share,
    case
        when ratio_tests.p_value < {{ var('experiment_ratio_alpha') }} then 'sample ratio mismatch'
        when compared.arm = compared.control_arm then 'control'
        when dateadd('day', {{ outcome_days }}, compared.day) > newest_days.newest_day then 'no decision yet'
        when compared.revenue_difference > nullif(compared.revenue_deviation, 0) * compared.revenue_margin
            then 'earns more'
        when -compared.revenue_difference > nullif(compared.revenue_deviation, 0) * compared.revenue_margin
            then 'earns less'
        else 'no decision yet'
    end as verdict
from compared
inner join ratio_tests
    on
        compared.shop_id = ratio_tests.shop_id
        and compared.experiment = ratio_tests.experiment
        and compared.day = ratio_tests.day
inner join newest_days on compared.shop_id = newest_days.shop_id
