-- The database, its schemas and its virtual warehouse. Run as SYSADMIN. Safe to run again.
-- The linter reads properties as unindented statements.
-- noqa: disable=LT02

create database if not exists {{ database }}
    comment = 'Tugboat: storefront events and the tables derived from them';

create schema if not exists {{ database }}.RAW
    comment = 'Events as received, append-only, and the load log';
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

-- The smallest size is enough for tens of millions of events. It suspends after one idle minute.
create warehouse if not exists {{ warehouse }}
    warehouse_size = 'XSMALL'
    auto_suspend = 60
    auto_resume = true
    initially_suspended = true
    comment = 'Runs Tugboat''s pipeline';
