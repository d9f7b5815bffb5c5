-- The login of dashboards: a service user with the reader's role. `python -m deploy.reader_login` runs it and sets the key.
-- Opt-in: without dashboards nobody needs it. Safe to run again.

use role SECURITYADMIN;

create user if not exists {{ reader_user }}
    type = service
    comment = 'Reads Tugboat''s marts for dashboards';
grant role {{ prefix }}_READER to user {{ reader_user }};
alter user {{ reader_user }} set
    default_role = {{ prefix }}_READER
    default_warehouse = {{ reader_warehouse }}
    default_secondary_roles = ();
