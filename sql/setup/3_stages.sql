-- Snowflake's access to S3. Safe to run again: a changed role or bucket takes effect.
-- The linter reads properties as unindented statements, and does not know ALTER STORAGE INTEGRATION.
-- noqa: disable=LT02,PRS

-- Integrations belong to the account.
use role ACCOUNTADMIN;

create storage integration if not exists {{ integration }}
    type = external_stage
    storage_provider = 'S3'
    enabled = true
    storage_aws_role_arn = '{{ storage_role_arn }}'
    storage_allowed_locations = (
        's3://{{ events_bucket }}/raw/',
        's3://{{ events_bucket }}/catalogue/',
        's3://{{ models_bucket }}/exports/',
        's3://{{ models_bucket }}/batch/'
    );
-- ALTER, not CREATE OR REPLACE: a new integration has a new external id, which the AWS role does not trust.
alter storage integration {{ integration }} set
    enabled = true
    storage_aws_role_arn = '{{ storage_role_arn }}'
    storage_allowed_locations = (
        's3://{{ events_bucket }}/raw/',
        's3://{{ events_bucket }}/catalogue/',
        's3://{{ models_bucket }}/exports/',
        's3://{{ models_bucket }}/batch/'
    );
grant usage on integration {{ integration }} to role SYSADMIN;

use role SYSADMIN;

create file format if not exists {{ database }}.RAW.EVENT_LINES
    type = json
    comment = 'Gzipped JSON lines, one event or product per line';

-- Only raw/: refused events are below rejected/ and are never loaded.
create stage if not exists {{ database }}.RAW.EVENT_FILES
    url = 's3://{{ events_bucket }}/raw/'
    storage_integration = {{ integration }};
-- ALTER keeps the grants. The record of loaded files belongs to RAW.EVENTS, so it stays either way.
alter stage {{ database }}.RAW.EVENT_FILES set
    url = 's3://{{ events_bucket }}/raw/'
    storage_integration = {{ integration }};

create stage if not exists {{ database }}.RAW.CATALOGUE_FILES
    url = 's3://{{ events_bucket }}/catalogue/'
    storage_integration = {{ integration }};
alter stage {{ database }}.RAW.CATALOGUE_FILES set
    url = 's3://{{ events_bucket }}/catalogue/'
    storage_integration = {{ integration }};

create stage if not exists {{ database }}.TRAINING.EXPORTS
    url = 's3://{{ models_bucket }}/exports/'
    storage_integration = {{ integration }};
alter stage {{ database }}.TRAINING.EXPORTS set
    url = 's3://{{ models_bucket }}/exports/'
    storage_integration = {{ integration }};

create stage if not exists {{ database }}.TRAINING.BATCH
    url = 's3://{{ models_bucket }}/batch/'
    storage_integration = {{ integration }};
alter stage {{ database }}.TRAINING.BATCH set
    url = 's3://{{ models_bucket }}/batch/'
    storage_integration = {{ integration }};
