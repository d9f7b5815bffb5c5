-- A stage with load_by = "copy" has no pipe: together they would load each file twice. Safe to run again.
-- The linter does not know pipes.
-- noqa: disable=PRS

use role SYSADMIN;

drop pipe if exists {{ database }}.RAW.EVENT_PIPE;
