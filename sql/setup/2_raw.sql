-- The raw events and catalogue feeds, the load log, the check results, the lists for mail. Safe to run again.

use role SYSADMIN;

-- Grain: one line of one file below raw/ on S3. Append-only: only an erasure deletes rows.
create table if not exists {{ database }}.RAW.EVENTS (
    PAYLOAD variant comment 'The event as collect wrote it (contracts/event.schema.json)',
    FILENAME varchar comment 'Key of the file on S3',
    ROW_NUMBER number comment 'Line in that file, from 1',
    -- sysdate() is always UTC; current_timestamp() repeats an hour each autumn.
    LOADED_AT timestamp_ntz default sysdate() comment 'Time of the load, UTC'
);

-- Grain: one product of one catalogue feed. Append-only, like the events.
create table if not exists {{ database }}.RAW.CATALOGUE (
    PAYLOAD variant comment 'The product as the import wrote it (contracts/product.schema.json)',
    FILENAME varchar comment 'Key of the file on S3',
    ROW_NUMBER number comment 'Line in that file, from 1',
    LOADED_AT timestamp_ntz default sysdate() comment 'Time of the load, UTC'
);

-- Grain: one file in one run of load, with COPY's result.
create table if not exists {{ database }}.RAW.LOAD_LOG (
    RUN_ID varchar comment 'Execution of the pipeline',
    FILE varchar comment 'Address of the file',
    STATUS varchar comment 'LOADED, LOAD_FAILED, LOAD_SKIPPED, or SWEPT: the run listed all files',
    ROWS_PARSED number,
    ROWS_LOADED number,
    FIRST_ERROR varchar comment 'First error of a file that was not loaded',
    LOADED_AT timestamp_ntz default sysdate()
);

-- Grain: one check in one run of validate.
create table if not exists {{ database }}.QA.CHECK_RESULTS (
    RUN_ID varchar,
    CHECKED_AT timestamp_ntz default sysdate(),
    KIND varchar comment 'dbt (an invariant of the tables), expectation, data or profile',
    CHECK_NAME varchar,
    SLICE varchar comment 'The checked table, column or shop',
    AGAINST varchar comment 'absolute, or the days before',
    N number comment 'Cases behind the value',
    MINIMUM_N number comment 'Cases that are needed to judge',
    VALUE float comment 'The measured value',
    BOUND float comment 'The allowed limit of the value',
    COMPARATOR varchar comment 'How the value must compare with the bound',
    VERDICT varchar comment 'passed, failed, skipped, warned or overridden',
    REASON varchar comment 'The verdict in words',
    SHOP_ID varchar comment 'The shop of the run'
);

-- Grain: the refused events of one day of one shop, by event kind and reason, in one run of validate.
-- The newest run counts.
create table if not exists {{ database }}.QA.REFUSED_EVENTS (
    RUN_ID varchar,
    CHECKED_AT timestamp_ntz comment 'Time of the count, UTC; the same for all rows of the run',
    SHOP_ID varchar,
    DAY date comment 'UTC day of the refusal',
    EVENT_NAME varchar comment 'Event kind, or unknown; empty in the row of a day without refused events',
    REASON varchar comment 'Reason of the refusal (docs/events.md)',
    EVENTS number comment 'Refused events; an estimate where rejected/ is too large to read as a whole'
);

-- A stage of an earlier release has the table without these columns.
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists SLICE varchar;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists AGAINST varchar;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists N number;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists MINIMUM_N number;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists BOUND float;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists COMPARATOR varchar;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists VERDICT varchar;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists REASON varchar;
alter table {{ database }}.QA.CHECK_RESULTS add column if not exists SHOP_ID varchar;

-- Grain: one decision about one limit of one shop. Append-only: the newest row of a shop and a name holds.
create table if not exists {{ database }}.QA.LIMITS (
    SHOP_ID varchar,
    LIMIT_NAME varchar comment 'A key of functions/validate/thresholds.json, or the name of an expectation',
    VALUE float comment 'The limit; null returns to the default',
    SET_BY varchar comment 'Name of the person',
    IDENTITY varchar comment 'AWS identity of the person',
    REASON varchar,
    SET_AT timestamp_ntz default sysdate()
);

-- Grain: one failed check of one run that a person accepts. Append-only.
create table if not exists {{ database }}.QA.OVERRIDES (
    RUN_ID varchar,
    SHOP_ID varchar,
    CHECK_NAME varchar,
    SET_BY varchar comment 'Name of the person',
    IDENTITY varchar comment 'AWS identity of the person',
    REASON varchar,
    SET_AT timestamp_ntz default sysdate()
);

-- Grain: one run of load. A view runs with its owner's rights: dashboards need none on the schema RAW.
-- The text of an error can quote a line of a file, so the view leaves it out.
create view if not exists {{ database }}.QA.LOADS as
select
    RUN_ID,
    min(LOADED_AT) as LOADED_AT,
    count_if(STATUS = 'LOADED') as FILES_LOADED,
    count_if(STATUS = 'LOAD_FAILED') as FILES_FAILED,
    coalesce(sum(ROWS_PARSED), 0) as ROWS_PARSED,
    coalesce(sum(ROWS_LOADED), 0) as ROWS_LOADED,
    coalesce(sum(ROWS_PARSED - ROWS_LOADED), 0) as ROWS_REFUSED
from {{ database }}.RAW.LOAD_LOG
group by RUN_ID;

-- Grain: one item in the list of one client. A batch replaces all rows of its shop.
-- Transient: the next batch writes it again.
create transient table if not exists {{ database }}.MARTS.RECOMMENDATIONS_BATCH (
    SHOP_ID varchar,
    CLIENT_KEY varchar comment 'Key of the client, as in MARTS.SESSIONS',
    CLIENT_ID varchar,
    USER_ID varchar comment 'The newest user id of the client within the days of the batch, or empty',
    LAST_EVENT_TIME_MS number comment 'Newest event of the client, in milliseconds since 1970 UTC',
    ITEM_RANK number comment 'Place in the list, from 1',
    ITEM_ID varchar,
    SCORE float comment 'Score of the model; 0 for an item that a rule or the fallback brought',
    BECAUSE varchar comment 'Why the item is here: viewed, again, related, popular, pinned or new',
    BECAUSE_ITEM_ID varchar comment 'The view that brought the item, for viewed and related',
    PINNED_BY varchar comment 'Id of the rule that gave the item its place',
    EXPLORED_BY varchar comment 'Id of the rule that shows the item to learn about it',
    MODEL_VERSION varchar,
    RULES_REVISION varchar comment 'Revision of the rules of the shop; empty without rules',
    RUN_ID varchar comment 'The run of the batch',
    MADE_AT_MS number comment 'Start of the batch: rules and prices hold at this time'
);

-- Grain: one client and one of the items that the model scores highest for it, before any rule.
create transient table if not exists {{ database }}.MARTS.CLIENT_AFFINITIES (
    SHOP_ID varchar,
    CLIENT_KEY varchar comment 'Key of the client, as in MARTS.SESSIONS',
    CLIENT_ID varchar,
    USER_ID varchar comment 'As in RECOMMENDATIONS_BATCH',
    LAST_EVENT_TIME_MS number comment 'As in RECOMMENDATIONS_BATCH',
    ITEM_ID varchar,
    SCORE float comment 'Score of the model',
    MODEL_VERSION varchar,
    RUN_ID varchar comment 'The run of the batch',
    MADE_AT_MS number comment 'Start of the batch, in milliseconds since 1970 UTC'
);
