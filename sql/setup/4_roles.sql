-- Three roles with the rights of one step each, and one of each command of people.
-- A service role has two of them for the pipeline's user.
-- Safe to run again. A test removes each grant in turn: every one of them is needed by a statement.

use role SECURITYADMIN;

create role if not exists {{ prefix }}_LOADER comment = 'Loads raw events';
create role if not exists {{ prefix }}_TRANSFORMER comment = 'Builds, checks and exports tables';
create role if not exists {{ prefix }}_READER comment = 'Reads the marts: analysts and dashboards';
create role if not exists {{ prefix }}_ERASER comment = 'Deletes the rows of one person';
create role if not exists {{ prefix }}_EXPLAINER comment = 'Reads the marts and raw events: make explain';
create role if not exists {{ prefix }}_STEWARD comment = 'Sets limits and overrides of checks';
create role if not exists {{ role }} comment = 'The pipeline';

grant usage on warehouse {{ warehouse }} to role {{ prefix }}_LOADER;
grant usage on warehouse {{ transform_warehouse }} to role {{ prefix }}_TRANSFORMER;
grant usage on warehouse {{ validate_warehouse }} to role {{ prefix }}_TRANSFORMER;
grant usage on warehouse {{ export_warehouse }} to role {{ prefix }}_TRANSFORMER;
grant usage on warehouse {{ reader_warehouse }} to role {{ prefix }}_READER;
grant usage on database {{ database }} to role {{ prefix }}_LOADER;
grant usage on database {{ database }} to role {{ prefix }}_TRANSFORMER;
grant usage on database {{ database }} to role {{ prefix }}_READER;

-- These grants make the raw tables append-only for the pipeline: only the eraser may delete.
grant usage on schema {{ database }}.RAW to role {{ prefix }}_LOADER;
grant select, insert on table {{ database }}.RAW.EVENTS to role {{ prefix }}_LOADER;
grant select, insert on table {{ database }}.RAW.LOAD_LOG to role {{ prefix }}_LOADER;
grant select, insert on table {{ database }}.RAW.CATALOGUE to role {{ prefix }}_LOADER;
grant usage on stage {{ database }}.RAW.EVENT_FILES to role {{ prefix }}_LOADER;
grant usage on stage {{ database }}.RAW.CATALOGUE_FILES to role {{ prefix }}_LOADER;
grant usage on file format {{ database }}.RAW.EVENT_LINES to role {{ prefix }}_LOADER;

grant usage on schema {{ database }}.RAW to role {{ prefix }}_TRANSFORMER;
grant select on table {{ database }}.RAW.EVENTS to role {{ prefix }}_TRANSFORMER;
grant select on table {{ database }}.RAW.CATALOGUE to role {{ prefix }}_TRANSFORMER;
grant select on table {{ database }}.RAW.LOAD_LOG to role {{ prefix }}_TRANSFORMER;
grant usage, create table, create view on schema {{ database }}.STAGING to role {{ prefix }}_TRANSFORMER;
grant usage, create table, create view on schema {{ database }}.INTERMEDIATE to role {{ prefix }}_TRANSFORMER;
grant usage, create table on schema {{ database }}.MARTS to role {{ prefix }}_TRANSFORMER;
grant usage, create table, create view on schema {{ database }}.TRAINING to role {{ prefix }}_TRANSFORMER;
grant usage on stage {{ database }}.TRAINING.EXPORTS to role {{ prefix }}_TRANSFORMER;
grant usage on stage {{ database }}.TRAINING.BATCH to role {{ prefix }}_TRANSFORMER;
grant select, insert, delete on table {{ database }}.MARTS.RECOMMENDATIONS_BATCH
to role {{ prefix }}_TRANSFORMER;
grant select, insert, delete on table {{ database }}.MARTS.CLIENT_AFFINITIES to role {{ prefix }}_TRANSFORMER;
grant usage on schema {{ database }}.QA to role {{ prefix }}_TRANSFORMER;
grant select, insert on table {{ database }}.QA.CHECK_RESULTS to role {{ prefix }}_TRANSFORMER;
grant insert on table {{ database }}.QA.REFUSED_EVENTS to role {{ prefix }}_TRANSFORMER;
grant select on table {{ database }}.QA.LIMITS to role {{ prefix }}_TRANSFORMER;
grant select on table {{ database }}.QA.OVERRIDES to role {{ prefix }}_TRANSFORMER;

grant usage on schema {{ database }}.MARTS to role {{ prefix }}_READER;
-- dbt replaces its tables. A new table has no grants but those on future tables.
grant select on future tables in schema {{ database }}.MARTS to role {{ prefix }}_READER;
grant select on table {{ database }}.MARTS.RECOMMENDATIONS_BATCH to role {{ prefix }}_READER;
grant select on table {{ database }}.MARTS.CLIENT_AFFINITIES to role {{ prefix }}_READER;
grant usage on schema {{ database }}.QA to role {{ prefix }}_READER;
grant select on table {{ database }}.QA.CHECK_RESULTS to role {{ prefix }}_READER;
grant select on view {{ database }}.QA.LOADS to role {{ prefix }}_READER;
grant select on table {{ database }}.QA.REFUSED_EVENTS to role {{ prefix }}_READER;

-- The eraser deletes rows, loads rewritten files again, and marks rows whose totals are computed again.
grant usage on warehouse {{ warehouse }} to role {{ prefix }}_ERASER;
grant usage on database {{ database }} to role {{ prefix }}_ERASER;
grant usage on schema {{ database }}.RAW to role {{ prefix }}_ERASER;
grant select, insert, delete on table {{ database }}.RAW.EVENTS to role {{ prefix }}_ERASER;
grant select, update on table {{ database }}.RAW.LOAD_LOG to role {{ prefix }}_ERASER;
grant usage on stage {{ database }}.RAW.EVENT_FILES to role {{ prefix }}_ERASER;
grant usage on file format {{ database }}.RAW.EVENT_LINES to role {{ prefix }}_ERASER;
grant usage on schema {{ database }}.STAGING to role {{ prefix }}_ERASER;
grant select, delete on future tables in schema {{ database }}.STAGING to role {{ prefix }}_ERASER;
grant usage on schema {{ database }}.INTERMEDIATE to role {{ prefix }}_ERASER;
grant select, update, delete on future tables in schema {{ database }}.INTERMEDIATE
to role {{ prefix }}_ERASER;
grant usage on schema {{ database }}.MARTS to role {{ prefix }}_ERASER;
grant select, update, delete on future tables in schema {{ database }}.MARTS to role {{ prefix }}_ERASER;
grant select, delete on table {{ database }}.MARTS.RECOMMENDATIONS_BATCH to role {{ prefix }}_ERASER;
grant select, delete on table {{ database }}.MARTS.CLIENT_AFFINITIES to role {{ prefix }}_ERASER;
grant usage on schema {{ database }}.TRAINING to role {{ prefix }}_ERASER;
grant select, delete on future tables in schema {{ database }}.TRAINING to role {{ prefix }}_ERASER;

-- Raw events name clients, so analysts do not have this role. It has no right to write anything.
grant role {{ prefix }}_READER to role {{ prefix }}_EXPLAINER;
grant usage on schema {{ database }}.RAW to role {{ prefix }}_EXPLAINER;
grant select on table {{ database }}.RAW.EVENTS to role {{ prefix }}_EXPLAINER;

-- The steward decides about checks and sees no event. Neither table can be changed, only added to.
grant usage on warehouse {{ reader_warehouse }} to role {{ prefix }}_STEWARD;
grant usage on database {{ database }} to role {{ prefix }}_STEWARD;
grant usage on schema {{ database }}.QA to role {{ prefix }}_STEWARD;
grant select on table {{ database }}.QA.CHECK_RESULTS to role {{ prefix }}_STEWARD;
grant select, insert on table {{ database }}.QA.LIMITS to role {{ prefix }}_STEWARD;
grant insert on table {{ database }}.QA.OVERRIDES to role {{ prefix }}_STEWARD;

-- A deployment reads the trust of the AWS role by DESC INTEGRATION.
grant usage on integration {{ integration }} to role {{ role }};

grant role {{ prefix }}_LOADER to role {{ role }};
grant role {{ prefix }}_TRANSFORMER to role {{ role }};
grant role {{ role }} to user {{ user }};
-- Not to the pipeline's role: its steps must not inherit the right to delete.
grant role {{ prefix }}_ERASER to user {{ user }};
-- Whoever may read the pipeline's login may explain. The pipeline's own role does not get the right.
grant role {{ prefix }}_EXPLAINER to user {{ user }};
-- The steward is a person. The pipeline must not be able to change its own limits.
grant role {{ prefix }}_STEWARD to user {{ user }};

-- Administrators of the database see what the roles own.
grant role {{ prefix }}_READER to role SYSADMIN;
grant role {{ role }} to role SYSADMIN;
