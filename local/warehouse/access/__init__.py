"""Who may do what: users, roles, owners and grants, as Snowflake's access control defines them.

fakesnow 0.12.1 has one user and no roles. Here every session has a user and a role, and a statement that the role may not
execute is refused with Snowflake's own error. The rules are those of Snowflake's pages "Access control privileges" and
"Overview of access control". Sessions have no secondary roles, which is stricter than a new user's default.
"""
