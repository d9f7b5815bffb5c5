"""Snowpipe: pipes with auto-ingest, their queues in SQS, and their own record of loaded files.

fakesnow 0.12.1 has no pipes. A pipe here is an object of the account.
A thread reads the queues of all pipes, and loads each file that S3 names, with the stage's access to S3.
As in Snowflake, a pipe loads each name once, and COPY ignores the record of the pipe.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import urllib.parse
from datetime import UTC, datetime
from typing import Any

import duckdb
import sqlglot
from botocore.exceptions import BotoCoreError, ClientError
from snowflake.connector.errors import ProgrammingError
from sqlglot import exp

from local.clients import aws_client
from local.environment import SNOWFLAKE_ACCESS_KEY, SNOWFLAKE_SECRET_KEY
from local.warehouse import load
from local.warehouse.access import errors, privileges
from local.warehouse.access.account import Account, Need, Thing
from local.warehouse.access.privileges import Session
from local.warehouse.access.statements import Result
from local.warehouse.access.storage import StorageAccess

log = logging.getLogger(__name__)

_NAME = r"(?P<name>[\w.$]+)"
_CREATE = re.compile(
    rf"\s*create\s+pipe\s+(?P<unless>if\s+not\s+exists\s+)?{_NAME}\s+(?P<options>.*?)\bas\s+(?P<copy>copy\s+into\b.*)",
    re.I | re.S,
)
_DROP = re.compile(rf"\s*drop\s+pipe\s+(?P<if_exists>if\s+exists\s+)?{_NAME}\s*;?\s*", re.I)
_REFRESH = re.compile(
    rf"\s*alter\s+pipe\s+{_NAME}\s+refresh(?:\s+prefix\s*=\s*'(?P<prefix>[^']*)')?\s*;?\s*", re.I
)
_PAUSE = re.compile(
    rf"\s*alter\s+pipe\s+{_NAME}\s+set\s+pipe_execution_paused\s*=\s*(?P<paused>true|false)\s*;?\s*", re.I
)
_DESCRIBE = re.compile(rf"\s*desc(?:ribe)?\s+pipe\s+{_NAME}\s*;?\s*", re.I)
_STATUS = re.compile(rf"\s*select\s+system\$pipe_status\(\s*'{_NAME}'\s*\)\s*;?\s*", re.I)
_COPY_HISTORY = re.compile(
    r"table\(\s*(?:\w+\.)?information_schema\.copy_history\(\s*table_name\s*=>\s*'(?P<table>[\w.$]+)'\s*,"
    r"\s*start_time\s*=>\s*(?P<start>[^()]*(?:\([^()]*(?:\([^()]*\)[^()]*)*\)[^()]*)?)\)\s*\)",
    re.I,
)
_HISTORY = "_fs_global._fs_information_schema._pipe_history"
_POLL_S = 0.2
_PAUSE_S = 5.0


_STATEMENTS = (_CREATE, _DROP, _REFRESH, _PAUSE, _DESCRIBE, _STATUS)


def is_pipe_statement(command: str) -> bool:
    """Return True if this module executes the statement."""
    return any(pattern.fullmatch(command) for pattern in _STATEMENTS)


class Pipes:
    """All pipes of the account."""

    def __init__(
        self, account: Account, storage: StorageAccess, connection: duckdb.DuckDBPyConnection, endpoint: str
    ) -> None:
        self._account = account
        self._storage = storage
        self._connection = connection
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sqs: Any = None
        with connection.cursor() as metadata:
            metadata.execute(
                f"CREATE TABLE IF NOT EXISTS {_HISTORY} (pipe TEXT, file TEXT, loaded_at TIMESTAMPTZ, status TEXT, "
                "row_count BIGINT, row_parsed BIGINT, error TEXT)"
            )
        if self._named():
            self._start()

    def execute(self, command: str, session: Session) -> Result | None:
        """Execute a statement about pipes; return None if it is another one.

        Raises:
            ProgrammingError: the role may not, or the pipe does not exist.
        """
        if match := _CREATE.fullmatch(command):
            return self._create(match, session)
        if match := _DROP.fullmatch(command):
            return self._drop(match, session)
        if match := _REFRESH.fullmatch(command):
            return self._refresh(match, session)
        if match := _PAUSE.fullmatch(command):
            pipe = self._required(match["name"], session, "OPERATE")
            with self._account.change():
                self._account.objects[pipe].properties["PAUSED"] = match["paused"].lower() == "true"
            return Result(rows=[("Statement executed successfully.",)])
        if match := _DESCRIBE.fullmatch(command):
            return self._describe(self._required(match["name"], session, "MONITOR"))
        if match := _STATUS.fullmatch(command):
            status = self._status(self._required(match["name"], session, "MONITOR"))
            return Result(("SYSTEM$PIPE_STATUS",), [(json.dumps(status),)])
        return None

    def rewrite(self, command: str, session: Session) -> str:
        """Replace the table function COPY_HISTORY by a subquery with the results of COPY and of the pipes."""
        match = _COPY_HISTORY.search(command)
        if match is None:
            return command
        database, schema, table = session.complete(match["table"].upper().split(".")).split(".")
        self._account.require(session.role, [Need(Thing("TABLE", f"{database}.{schema}.{table}"))])
        return f"{command[: match.start()]}({self._history(database, schema, table)}){command[match.end() :]}"

    def close(self) -> None:
        """Stop reading the queues."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    # Statements

    def _create(self, match: re.Match[str], session: Session) -> Result:
        pipe = self._pipe(match["name"], session)
        schema = Thing("SCHEMA", pipe.name.rpartition(".")[0])
        self._account.require(session.role, [Need(schema, ("CREATE PIPE",))])
        if pipe in self._account.objects:
            if match["unless"]:
                return Result(rows=[(f"{pipe.name} already exists, statement succeeded.",)])
            raise errors.exists(*pipe)
        definition = match["copy"].rstrip().rstrip(";")
        statement = _parsed(definition)
        self._account.require(session.role, self._needs(statement, session.role, pipe))
        url = self._queues().create_queue(QueueName=_queue_name(pipe))["QueueUrl"]
        arn = self._queues().get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        properties = {"DEFINITION": definition, "CHANNEL": arn["QueueArn"], "URL": url, "PAUSED": False}
        with self._account.change():
            self._account.create(pipe, session.role, properties)
        self._start()
        return Result(rows=[(f"Pipe {pipe.name} successfully created.",)])

    def _drop(self, match: re.Match[str], session: Session) -> Result:
        pipe = self._pipe(match["name"], session)
        if pipe in self._account.objects or not match["if_exists"]:
            self._account.require(session.role, [Need(pipe, ("OWNERSHIP",))])
            with self._lock:
                self._account.drop(pipe)
                with self._connection.cursor() as metadata:
                    metadata.execute(f"DELETE FROM {_HISTORY} WHERE pipe = ?", [pipe.name])
        return Result(rows=[(f"{pipe.name} successfully dropped.",)])

    def _refresh(self, match: re.Match[str], session: Session) -> Result:
        """Load the files below a prefix that neither COPY nor the pipe has loaded. Snowflake queues them instead."""
        pipe = self._required(match["name"], session, "OPERATE")
        statement = _parsed(self._account.objects[pipe].properties["DEFINITION"])
        self._account.require(session.role, self._needs(statement, session.role, pipe))
        location = self._location(statement, pipe) + (match["prefix"] or "")
        with self._lock:
            target = self._target(statement, pipe)
            known = {*load.loaded_by_copy(self._connection.cursor(), *target), *self._loaded(pipe)}
            new = [url for url in self._storage.files(location) if url not in known]
            for url in new:
                self._ingest(pipe, statement, url)
        return Result(("File", "Status"), [(url, "SENT") for url in new])

    def _describe(self, pipe: Thing) -> Result:
        database, schema, name = pipe.name.split(".")
        entry = self._account.objects[pipe]
        columns = ("name", "database_name", "schema_name", "definition", "owner", "notification_channel")
        definition, channel = entry.properties["DEFINITION"], entry.properties["CHANNEL"]
        return Result(columns, [(name, database, schema, definition, entry.owner, channel)])

    def _status(self, pipe: Thing) -> dict[str, Any]:
        properties = self._account.objects[pipe].properties
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = self._queues().get_queue_attributes(QueueUrl=properties["URL"], AttributeNames=names)
        return {
            "executionState": "PAUSED" if properties["PAUSED"] else "RUNNING",
            "pendingFileCount": int(counts["Attributes"][names[1]]),
            "notificationChannelName": properties["CHANNEL"],
            "numOutstandingMessagesOnChannel": int(counts["Attributes"][names[0]]),
        }

    # Loading

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._read_queues, daemon=True, name="snowpipe")
            self._thread.start()

    def _read_queues(self) -> None:
        while not self._stop.wait(_POLL_S):
            for pipe in self._named():
                try:
                    self._read_queue(pipe)
                except ClientError as error:
                    # Queues do not survive a restart of the local AWS.
                    if "NonExistentQueue" in error.response["Error"]["Code"]:
                        self._queues().create_queue(QueueName=_queue_name(pipe))
                    self._pause(pipe, error)
                except (BotoCoreError, ProgrammingError, duckdb.Error, KeyError) as error:
                    self._pause(pipe, error)

    def _pause(self, pipe: Thing, error: Exception) -> None:
        log.warning("pipe %s: %s", pipe.name, error)
        self._stop.wait(_PAUSE_S)

    def _read_queue(self, pipe: Thing) -> None:
        properties = self._account.objects[pipe].properties
        if properties["PAUSED"]:
            return
        queue = properties["URL"]
        received = self._queues().receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=60
        )
        for message in received.get("Messages", []):
            with self._lock:
                statement = _parsed(properties["DEFINITION"])
                location = self._location(statement, pipe)
                for record in json.loads(message["Body"]).get("Records", []):
                    key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
                    url = f"s3://{record['s3']['bucket']['name']}/{key}"
                    if url.startswith(location) and url not in self._loaded(pipe):
                        self._ingest(pipe, statement, url)
            self._queues().delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    def _ingest(self, pipe: Thing, statement: exp.Copy, url: str) -> None:
        """Load one file, and record the result even if it failed: a pipe tries no name again."""
        with self._connection.cursor() as connection:
            connection.begin()
            result = load.insert_file(connection, statement, url, self._target(statement, pipe))
            connection.commit() if result.status == "LOADED" else connection.rollback()
        status = "Loaded" if result.status == "LOADED" else "Load failed"
        values = [pipe.name, url, datetime.now(UTC), status, result.rows, result.rows, result.error]
        with self._connection.cursor() as metadata:
            metadata.execute(f"INSERT INTO {_HISTORY} VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _loaded(self, pipe: Thing) -> set[str]:
        with self._connection.cursor() as metadata:
            rows = metadata.execute(f"SELECT file FROM {_HISTORY} WHERE pipe = ?", [pipe.name]).fetchall()
        return {row[0] for row in rows}

    def _history(self, database: str, schema: str, table: str) -> str:
        """Return a query with the columns of COPY_HISTORY."""
        parts = [
            "SELECT file, '' AS location, status, row_parsed, row_count, error, pipe, loaded_at "
            f"FROM {_HISTORY} WHERE pipe LIKE '{database}.{schema}.%'",
            "SELECT FILE_NAME, '', 'Loaded', ROW_PARSED, ROW_COUNT, NULL, NULL, LAST_LOAD_TIME "
            f"FROM {database}._fs_information_schema._fs_load_history "
            f"WHERE SCHEMA_NAME = '{schema}' AND TABLE_NAME = '{table}'",
        ]
        with self._connection.cursor() as metadata:
            rows = metadata.execute(" UNION ALL ".join(parts)).fetchall()
        names = (
            "FILE_NAME",
            "STAGE_LOCATION",
            "STATUS",
            "ROW_PARSED",
            "ROW_COUNT",
            "FIRST_ERROR_MESSAGE",
            "PIPE_NAME",
        )
        selects = []
        for file, _, status, parsed, count, error, pipe, _ in rows:
            bucket = "/".join(file.split("/")[:4]) + "/"
            values = (file.removeprefix(bucket), bucket, status, parsed, count, error, pipe)
            selects.append(
                "SELECT "
                + ", ".join(f"{_literal(value)} AS {name}" for value, name in zip(values, names, strict=True))
            )
        empty = ", ".join(f"NULL AS {name}" for name in names)
        return " UNION ALL ".join(selects) or f"SELECT {empty} WHERE FALSE"

    # Names and rights

    def _named(self) -> list[Thing]:
        return [thing for thing in list(self._account.objects) if thing.kind == "PIPE"]

    def _pipe(self, name: str, session: Session) -> Thing:
        return Thing("PIPE", session.complete(name.upper().split(".")))

    def _required(self, name: str, session: Session, privilege: str) -> Thing:
        pipe = self._pipe(name, session)
        self._account.require(session.role, [Need(pipe, (privilege,))])
        return pipe

    def _needs(self, statement: exp.Copy, role: str, pipe: Thing) -> list[Need]:
        """Return what a role needs for the pipe's COPY, which runs without a warehouse."""
        database, schema, _ = pipe.name.split(".")
        needed = privileges.needs(statement, Session("", role, "", database, schema), self._account)
        return [need for need in needed if need.thing.kind != "WAREHOUSE"]

    def _location(self, statement: exp.Copy, pipe: Thing) -> str:
        """Return the URL of the pipe's stage, after the owner was given access to it."""
        database, schema, _ = pipe.name.split(".")
        owner = self._account.objects[pipe].owner if pipe in self._account.objects else ""
        (stage,) = privileges.stages(statement, Session("", owner, "", database, schema))
        self._storage.open(self._account, stage)
        return str(self._account.objects[stage].properties["URL"])

    def _target(self, statement: exp.Copy, pipe: Thing) -> tuple[str, str, str]:
        database, schema, _ = pipe.name.split(".")
        table = statement.find(exp.Table)
        assert table is not None
        full = Session("", "", "", database, schema).full_name(table).split(".")
        return full[0], full[1], full[2]

    def _queues(self) -> Any:
        if self._sqs is None:
            self._sqs = aws_client(
                "sqs",
                self._endpoint,
                aws_access_key_id=SNOWFLAKE_ACCESS_KEY,
                aws_secret_access_key=SNOWFLAKE_SECRET_KEY,
            )
        return self._sqs


def _queue_name(pipe: Thing) -> str:
    return f"sf-snowpipe-{pipe.name.replace('.', '-')}"[:80]


def _parsed(definition: str) -> exp.Copy:
    statement = sqlglot.parse_one(definition, read="snowflake")
    if not isinstance(statement, exp.Copy):
        raise errors.invalid("a pipe needs a COPY statement")
    return statement


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else exp.Literal.string(str(value)).sql("snowflake")
