"""Transform: RAW.EVENTS into sessions, marts and training tables, with dbt."""
