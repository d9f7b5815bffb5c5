"""The result of a load, per file: the columns of RAW.LOAD_LOG."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CopiedFile:
    """The result of COPY or of Snowpipe for one file."""

    file: str
    status: str
    rows_parsed: int
    rows_loaded: int
    first_error: str | None
