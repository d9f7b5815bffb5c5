-- The database, its schemas and the warehouse that computes. Run as SYSADMIN. Safe to run again.
-- The linter takes properties for unindented statements of their own.
-- noqa: disable=LT02

create database if not exists {{ database }}
    comment = 'Tugboat: storefront events and what is made of them';

create schema if not exists {{ database }}.RAW
    comment = 'Events as received, append-only, and the log of their loading';
create schema if not exists {{ database }}.STAGING
    comment = 'One row per distinct event, typed';
create schema if not exists {{ database }}.INTERMEDIATE
    comment = 'Events in their sessions, and the items they happened to';
create schema if not exists {{ database }}.MARTS
    comment = 'Sessions, products and daily figures, for people and dashboards';
create schema if not exists {{ database }}.TRAINING
    comment = 'What the recommender learns from; exported to S3 as parquet';
create schema if not exists {{ database }}.QA
    comment = 'Results of data checks';

-- The smallest size is enough for tens of millions of events. It stops a minute after the last statement.
create warehouse if not exists {{ warehouse }}
    warehouse_size = 'XSMALL'
    auto_suspend = 60
    auto_resume = true
    initially_suspended = true
    comment = 'Computes Tugboat''s pipeline';
