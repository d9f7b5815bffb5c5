"""This machine's AWS and Snowflake. Generic emulation: nothing here knows the product, and the product never imports it."""
