"""The statement that copies files of S3 into a table of RAW."""

import re

from functions.platform.contract import RAW_PREFIX

# COPY skips an unreadable file as a whole, and the next run tries it again: repairing the file on S3 is enough.
# Snowflake itself remembers which files are loaded, so running twice loads nothing twice.
COPY = """
copy into RAW.{table} (PAYLOAD, FILENAME, ROW_NUMBER)
from (select $1, metadata$filename, metadata$file_row_number from @RAW.{stage}{path})
file_format = (format_name = 'RAW.EVENT_LINES')
{files}on_error = skip_file
"""
# The key becomes part of the statement, which COPY's FILES cannot take as a bound parameter.
RAW_KEY = re.compile(rf"{RAW_PREFIX}([A-Za-z0-9/_.=+-]+)")


def copy_statement(
    path: str = "", files: str = "", *, table: str = "EVENTS", stage: str = "EVENT_FILES"
) -> str:
    """Return COPY of all files below `path` of a stage, or of those that the options `files` name."""
    return COPY.format(table=table, stage=stage, path=path, files=files)
