"""Compact: a finished day of raw files as a few parquet files."""
