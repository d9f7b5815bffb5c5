"""The commands that deploy a stage to AWS and Snowflake, destroy it, and roll its endpoint back."""
