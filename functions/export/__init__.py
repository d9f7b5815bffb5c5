"""Export: the training tables as parquet on S3."""
