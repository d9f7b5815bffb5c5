"""The warehouse in SQL: a dbt project, and the account it works in (setup/)."""
