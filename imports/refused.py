"""The error for a file that cannot be read as a whole."""

ACCEPTED = """accepted layouts:
  a directory with train.tsv(.gz) and optionally test.tsv(.gz), columns SessionId ItemId Time (Serenade's layout)
  a CSV with REES46's columns: event_time event_type product_id category_code brand price user_id user_session
  a CSV or parquet file of your own data: event_time event_name item_id client_id, and optional columns
  JSON lines with contract events, or with the same columns as the CSV
  the BigQuery export of Google Analytics 4 (events_*), as parquet or JSON lines
  UCI's e-shop clothing 2008, and UCI's Online Retail, as CSV
or a directory of such files. A CSV has commas, semicolons, tabs or bars. docs/datasets.md describes each layout."""


class FileRefused(Exception):
    """A file is not read at all. The message names the file, the reason and the next step."""
