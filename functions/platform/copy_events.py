"""The statement that copies raw files into RAW.EVENTS."""

import re

from functions.platform.contract import RAW_PREFIX

# COPY skips an unreadable file as a whole, and the next run tries it again: repairing the file on S3 is enough.
# Snowflake itself remembers which files are loaded, so running twice loads nothing twice.
COPY_EVENTS = """
copy into RAW.EVENTS (PAYLOAD, FILENAME, ROW_NUMBER)
from (select $1, metadata$filename, metadata$file_row_number from @RAW.EVENT_FILES{path})
file_format = (format_name = 'RAW.EVENT_LINES')
{files}on_error = skip_file
"""
# The key becomes part of the statement, which COPY's FILES cannot take as a bound parameter.
RAW_KEY = re.compile(rf"{RAW_PREFIX}([A-Za-z0-9/_.=+-]+)")
