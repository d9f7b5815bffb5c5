-- Removes everything that sql/setup created, with all data. `python -m deploy.destroy --delete-data` runs it.
-- The pipeline's role and user stay: an administrator made them by hand (docs/deploy.md).

use role ACCOUNTADMIN;

drop database if exists {{ database }};
drop warehouse if exists {{ warehouse }};
drop warehouse if exists {{ warehouse }}_TRANSFORM;
drop warehouse if exists {{ warehouse }}_VALIDATE;
drop warehouse if exists {{ warehouse }}_EXPORT;
drop warehouse if exists {{ reader_warehouse }};
drop resource monitor if exists {{ warehouse }};
drop resource monitor if exists {{ reader_warehouse }};
drop integration if exists {{ integration }};
drop role if exists {{ prefix }}_LOADER;
drop role if exists {{ prefix }}_TRANSFORMER;
drop role if exists {{ prefix }}_READER;
drop role if exists {{ prefix }}_ERASER;
drop role if exists {{ prefix }}_EXPLAINER;
drop role if exists {{ prefix }}_STEWARD;
