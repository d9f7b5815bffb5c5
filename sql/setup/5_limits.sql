-- Limits on cost. Safe to run again: a changed quota takes effect.
-- The linter does not know resource monitors.
-- noqa: disable=LT02,PRS

-- Resource monitors belong to the account.
use role ACCOUNTADMIN;

-- At their quota the pipeline's warehouses stop.
-- The next run fails with Snowflake's message, which names the monitor.
create resource monitor if not exists {{ warehouse }}
    with credit_quota = {{ credits_per_month }}
    frequency = monthly
    start_timestamp = immediately
    triggers on 80 percent do notify on 100 percent do suspend on 110 percent do suspend_immediate;
alter resource monitor {{ warehouse }} set credit_quota = {{ credits_per_month }};
alter warehouse {{ warehouse }} set resource_monitor = {{ warehouse }};
-- The warehouses of steps share the quota.
alter warehouse {{ transform_warehouse }} set resource_monitor = {{ warehouse }};
alter warehouse {{ validate_warehouse }} set resource_monitor = {{ warehouse }};
alter warehouse {{ export_warehouse }} set resource_monitor = {{ warehouse }};

create resource monitor if not exists {{ reader_warehouse }}
    with credit_quota = {{ reader_credits_per_month }}
    frequency = monthly
    start_timestamp = immediately
    triggers on 80 percent do notify on 100 percent do suspend on 110 percent do suspend_immediate;
alter resource monitor {{ reader_warehouse }} set credit_quota = {{ reader_credits_per_month }};
alter warehouse {{ reader_warehouse }} set resource_monitor = {{ reader_warehouse }};

-- A statement whose Lambda has ended is aborted after five minutes, not at the statement timeout.
alter user {{ user }} set abort_detached_query = true;
-- By default, a session has all roles of its user as secondary roles. The pipeline would have the eraser's
-- rights. https://docs.snowflake.com/en/release-notes/bcr-bundles/2024_07/bcr-1692
alter user {{ user }} set default_secondary_roles = ();
