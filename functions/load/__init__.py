"""Load: events from S3 into RAW.EVENTS, each file once."""
