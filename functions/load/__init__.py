"""Load: events from S3 into RAW.EVENTS, each file once."""

from functions.load.loader import run

__all__ = ["run"]
