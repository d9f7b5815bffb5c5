"""Export: the training tables as parquet on S3."""

from functions.export.exporter import EmptySnapshot, StockUnreadable, run

__all__ = ["EmptySnapshot", "StockUnreadable", "run"]
