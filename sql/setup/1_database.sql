-- The database, its schemas and its virtual warehouses. Safe to run again.
-- The linter reads properties as unindented statements, and does not know all of ALTER WAREHOUSE.
-- noqa: disable=LT02,PRS

use role SYSADMIN;

create database if not exists {{ database }}
    comment = 'Tugboat: storefront events and the tables derived from them';

create schema if not exists {{ database }}.RAW
    comment = 'Events and catalogue feeds as received, append-only, and the load log';
create schema if not exists {{ database }}.STAGING
    comment = 'One row per distinct event, typed';
create schema if not exists {{ database }}.INTERMEDIATE
    comment = 'Events in their sessions, and their items';
create schema if not exists {{ database }}.MARTS
    comment = 'Sessions, products and daily figures, for people and dashboards';
create schema if not exists {{ database }}.TRAINING
    comment = 'Training data of the recommender, exported to S3 as parquet';
create schema if not exists {{ database }}.QA
    comment = 'Results of data checks';

create warehouse if not exists {{ warehouse }}
    initially_suspended = true
    comment = 'Runs Tugboat''s pipeline';
-- A step ends after 900 s as a Lambda. A statement that it leaves behind must end too: the default is 2 days.
alter warehouse {{ warehouse }} set
    warehouse_size = '{{ warehouse_size }}'
    auto_suspend = 60
    auto_resume = true
    statement_timeout_in_seconds = {{ statement_timeout_seconds }};

-- The warehouse of a step is the one above, unless the stage sets a size for the step.
-- While suspended it costs nothing.
create warehouse if not exists {{ transform_warehouse }}
    initially_suspended = true
    comment = 'Runs transform of Tugboat''s pipeline';
alter warehouse {{ transform_warehouse }} set
    warehouse_size = '{{ transform_warehouse_size }}'
    auto_suspend = 60
    auto_resume = true
    statement_timeout_in_seconds = {{ statement_timeout_seconds }};

create warehouse if not exists {{ validate_warehouse }}
    initially_suspended = true
    comment = 'Runs validate of Tugboat''s pipeline';
alter warehouse {{ validate_warehouse }} set
    warehouse_size = '{{ validate_warehouse_size }}'
    auto_suspend = 60
    auto_resume = true
    statement_timeout_in_seconds = {{ statement_timeout_seconds }};

create warehouse if not exists {{ export_warehouse }}
    initially_suspended = true
    comment = 'Runs export of Tugboat''s pipeline';
alter warehouse {{ export_warehouse }} set
    warehouse_size = '{{ export_warehouse_size }}'
    auto_suspend = 60
    auto_resume = true
    statement_timeout_in_seconds = {{ statement_timeout_seconds }};

-- A warehouse of their own: people must neither delay the pipeline nor use up its credits.
create warehouse if not exists {{ reader_warehouse }}
    initially_suspended = true
    comment = 'Queries of people and dashboards on Tugboat''s marts';
alter warehouse {{ reader_warehouse }} set
    warehouse_size = 'XSMALL'
    auto_suspend = 60
    auto_resume = true
    statement_timeout_in_seconds = 300;
