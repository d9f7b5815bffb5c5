"""Snowflake on this machine: fakesnow's server on DuckDB, with one module per missing feature.

Each patch names the release that it was written for (fakesnow 0.12.1, duckdb 2.0.0, sqlglot 30.22.0).
Its contract test in local/tests/integration/warehouse fails if a moved pin changes its behavior.
"""
