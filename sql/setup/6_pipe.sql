-- Snowpipe, for a stage with load_by = "snowpipe". Safe to run again.
-- An existing pipe keeps its record of loaded files.
-- The linter does not know pipes.
-- noqa: disable=LT02,PRS,CP02,AL03

use role SYSADMIN;

-- LOADED_AT is set here. In a pipe, the default sysdate() can be hours before the load, and Transform would
-- miss the row.
-- https://docs.snowflake.com/en/sql-reference/sql/create-pipe
create pipe if not exists {{ database }}.RAW.{{ pipe }}
    auto_ingest = true
    comment = 'Loads each raw file when it arrives'
    as copy into {{ database }}.RAW.EVENTS (PAYLOAD, FILENAME, ROW_NUMBER, LOADED_AT)
    from (
        select
            $1,
            metadata$filename,
            metadata$file_row_number,
            convert_timezone('UTC', metadata$start_scan_time)::timestamp_ntz
        from @{{ database }}.RAW.EVENT_FILES
    )
    file_format = (format_name = '{{ database }}.RAW.EVENT_LINES')
    on_error = skip_file;

use role SECURITYADMIN;

-- Load reads the pipe's status, and asks it for files whose notification was lost.
grant monitor, operate on pipe {{ database }}.RAW.{{ pipe }} to role {{ prefix }}_LOADER;
