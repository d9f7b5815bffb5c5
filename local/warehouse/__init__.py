"""This machine's Snowflake: fakesnow's server on DuckDB, with the gaps Tugboat needs filled.

One module per gap. Each patch names the pinned release it was written against (fakesnow 0.12.1,
duckdb 2.0.0, sqlglot 30.22.0) and has a contract test in tests/integration/warehouse that fails when a
moved pin changes its behaviour.
Start it with `python -m local.warehouse --help`.
"""
