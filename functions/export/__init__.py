"""Export: the training tables as parquet on S3."""

from functions.export.exporter import EmptySnapshot, run

__all__ = ["EmptySnapshot", "run"]
