"""The warehouse in SQL: a dbt project, and the set-up of its account in setup/."""
