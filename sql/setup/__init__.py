"""Sets up the Snowflake account that the pipeline works in."""
