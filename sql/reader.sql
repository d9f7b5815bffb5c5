-- The login of dashboards: a service user with the reader's role. Safe to run again.
-- Opt-in: `python -m deploy.reader_login` runs it and sets the key. Without dashboards nobody needs it.
-- The linter reads properties as unindented statements.
-- noqa: disable=LT02

use role SECURITYADMIN;

create user if not exists {{ reader_user }}
    type = SERVICE
    comment = 'Reads Tugboat''s marts for dashboards';
grant role {{ prefix }}_READER to user {{ reader_user }};
alter user {{ reader_user }} set
    default_role = {{ prefix }}_READER
    default_warehouse = {{ reader_warehouse }}
    default_secondary_roles = ();
