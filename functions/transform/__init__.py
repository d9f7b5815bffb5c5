"""Transform: RAW.EVENTS into sessions, marts and training tables, with dbt."""

from functions.transform.transformer import run

__all__ = ["run"]
