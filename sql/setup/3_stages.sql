-- Snowflake's access to S3. Run as ACCOUNTADMIN: integrations belong to the account. Safe to run again.
-- After the first run, `desc integration {{ integration }}` shows the AWS user and the external id
-- that {{ storage_role_arn }} must trust.
-- The linter reads properties as unindented statements.
-- noqa: disable=LT02

create storage integration if not exists {{ integration }}
    type = external_stage
    storage_provider = 'S3'
    enabled = true
    storage_aws_role_arn = '{{ storage_role_arn }}'
    storage_allowed_locations = ('s3://{{ events_bucket }}/raw/', 's3://{{ models_bucket }}/exports/');

create file format if not exists {{ database }}.RAW.EVENT_LINES
    type = json
    comment = 'Gzipped JSON lines, one event per line';

-- Only raw/: refused events are below rejected/ and are never loaded.
create stage if not exists {{ database }}.RAW.EVENT_FILES
    url = 's3://{{ events_bucket }}/raw/'
    storage_integration = {{ integration }};

create stage if not exists {{ database }}.TRAINING.EXPORTS
    url = 's3://{{ models_bucket }}/exports/'
    storage_integration = {{ integration }};
