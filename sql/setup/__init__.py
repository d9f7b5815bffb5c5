"""Set up the Snowflake account that the pipeline uses."""
