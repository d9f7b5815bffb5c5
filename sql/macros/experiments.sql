{# Statistics of experiments. docs/decisions/0066-experiments.md cites the theorems. #}

{# The natural logarithm of the gamma function, by Stirling's series at x + 8: https://dlmf.nist.gov/5.11. Error below 1e-9. #}
{% macro ln_gamma(x) -%}
    (
        ({{ x }} + 7.5) * ln({{ x }} + 8) - ({{ x }} + 8) + 0.5 * ln(2 * pi())
        + 1 / (12 * ({{ x }} + 8)) - 1 / (360 * power({{ x }} + 8, 3)) + 1 / (1260 * power({{ x }} + 8, 5))
        - ln({{ x }} {%- for step in range(1, 8) %} * ({{ x }} + {{ step }}) {%- endfor %})
    )
{%- endmacro %}

{# Half the width of the asymptotic confidence sequence per unit of standard deviation, after `visitors` observations. #}
{% macro sequence_margin(visitors, alpha) -%}
    {%- set tuned = "(-2 * ln(" ~ alpha ~ ") + ln(-2 * ln(" ~ alpha ~ ") + 1)) / " ~ var('experiment_planned_visitors') -%}
    sqrt(
        2 * ({{ visitors }} * {{ tuned }} + 1) / (power({{ visitors }}, 2) * {{ tuned }})
        * ln(sqrt({{ visitors }} * {{ tuned }} + 1) / {{ alpha }})
    )
{%- endmacro %}

{# The days with changed first exposures: those of new ones, and those of the same clients until now. #}
{% macro exposure_days() -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set unread = "from " ~ ref('stg_exposures') ~ " where staged_at > " ~ watermark() -%}
    {%- set known = "select exposed_on from " ~ this ~ " where exposure_key in (select exposure_key " ~ unread ~ ")" -%}
    {{ return(distinct_days("select event_date as day " ~ unread ~ " union all " ~ known)) }}
{%- endmacro %}

{# The days of first exposures whose clients may have another outcome now: those of changed sessions, and all days since a
   changed first exposure, because an exposure that arrives late moves its client to an earlier day. #}
{% macro outcome_exposure_days() -%}
    {%- if not execute -%}{{ return([]) }}{%- endif -%}
    {%- set exposures = ref('experiment_exposures') -%}
    {%- set changed = unread_days(exposures, ['exposed_on']) -%}
    {%- set conditions = [among('exposed_on', session_exposure_days())] -%}
    {%- if changed -%}{%- do conditions.append("exposed_on >= '" ~ changed[0] ~ "'::date") -%}{%- endif -%}
    {%- set days = "select exposed_on as day from " ~ exposures ~ " where " ~ conditions | join(" or ") -%}
    {%- set counted = "select exposed_on as day from " ~ this ~ " where " ~ conditions | join(" or ") -%}
    {{ return(distinct_days(days ~ " union all " ~ counted)) }}
{%- endmacro %}

{# The days on which a client of an unread session can have been exposed first. #}
{% macro session_exposure_days() -%}
    {%- set found = {} -%}
    {%- for date in started_days() -%}
        {%- for shift in range(1 - (var('experiment_outcome_days') | int), 2) -%}
            {%- set day = modules.datetime.date.fromisoformat(date) + modules.datetime.timedelta(days=shift) -%}
            {%- do found.update({day.isoformat(): true}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found.keys() | sort) }}
{%- endmacro %}
