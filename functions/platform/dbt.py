"""dbt inside a Lambda: in this process, with all files below /tmp.

Lambda's file system is read-only except for /tmp, and it has no /dev/shm, which multiprocessing's locks need.
dbt uses those locks only between threads.
"""

import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from functions.platform.errors import WarehouseUnavailable
from functions.platform.warehouse import Credentials

CONNECTION_FAILURES = (
    "250001",
    "250003",
    "251011",
    "Could not connect to Snowflake",
    "Failed to connect to DB",
)


class ProjectMissing(Exception):
    """The dbt project was not shipped with the code."""


class DbtFailed(Exception):
    """A dbt command failed. The message names the model and the next step."""


@dataclass(frozen=True)
class NodeResult:
    """The result of one model or test. `failures` is the number of rows that break a test.

    A generic test has its `arguments`, and every test its statement as Snowflake executed it: `compiled`.
    """

    name: str
    check: str
    resource_type: str
    status: str
    seconds: float
    failures: int
    message: str
    column: str
    model: str
    arguments: dict[str, Any] = field(default_factory=dict)
    compiled: str = ""

    @property
    def failed(self) -> bool:
        """True if the model was not built, or the test did not pass."""
        return self.status in ("error", "fail", "runtime error")


def project_dir() -> Path:
    """Return the dbt project's folder: sql/ in the Lambda's zip, or beside functions/ in the repository.

    Raises:
        ProjectMissing: neither exists.
    """
    beside = Path(__file__).resolve().parents[2] / "sql"
    for candidate in (Path(os.environ.get("LAMBDA_TASK_ROOT", "/nowhere")) / "sql", beside):
        if (candidate / "dbt_project.yml").is_file():
            return candidate
    raise ProjectMissing(f"no dbt project at {beside}: is vendor/sql a link to ../sql in this package?")


def run_dbt(arguments: list[str], credentials: Credentials) -> list[NodeResult]:
    """Run one dbt command, and return the result of each model or test, failed ones included.

    Raises:
        WarehouseUnavailable: Snowflake did not answer.
        DbtFailed: dbt stopped before it ran the models.
    """
    with _environment(credentials, home=str(_work_dir())), _thread_locks():
        make_arrow_logger()
        finished = _invoke(arguments, _manifest(credentials))
    results = [_node_result(result) for result in getattr(finished, "results", [])]
    # Hooks at the start of a run are results too.
    results = [result for result in results if result.failed or result.resource_type != "operation"]
    for result in results:
        if result.failed and any(sign in result.message for sign in CONNECTION_FAILURES):
            raise _translated(result.message, result.name)
    return results


def make_arrow_logger() -> None:
    """Make the logger of the connector's Arrow reader in this thread, before dbt's threads read results.

    The connector 4.8 makes it once, under a lock of C++, and calls Python meanwhile.
    Two threads that need it at the same time can block each other forever: one holds this lock, the other one the GIL.
    """
    from snowflake.connector.arrow_context import ArrowConverterContext
    from snowflake.connector.errors import OperationalError
    from snowflake.connector.nanoarrow_arrow_iterator import PyArrowRowIterator

    # The reader makes its logger, and then refuses the empty stream with an error that would be false in a log.
    reader = logging.getLogger("snowflake.connector.CArrowIterator")
    reader.disabled = True
    try:
        PyArrowRowIterator(None, b"", ArrowConverterContext(), False, False, False, True)
    except OperationalError:
        pass
    finally:
        reader.disabled = False


@lru_cache(maxsize=1)
def _manifest(credentials: Credentials) -> Any:
    """Parse the project once per process, because parsing takes seconds; return dbt's manifest.

    The manifest depends on the credentials, whose database is part of every name in it. It must not depend on the
    variables of a command: models and tests read them when dbt compiles them, and configurations never do.
    https://docs.getdbt.com/reference/programmatic-invocations
    """
    return _invoke(["parse"], None)


def _invoke(arguments: list[str], manifest: Any) -> Any:
    """Run one dbt command, on a manifest if there is one; return dbt's result."""
    from dbt.cli.main import dbtRunner

    project = str(project_dir())
    command = [
        *arguments,
        "--project-dir", project, "--profiles-dir", project,
        "--target-path", str(_work_dir() / "target"), "--log-path", str(_work_dir() / "logs"),
        "--no-partial-parse", "--no-write-json", "--no-use-colors", "--quiet", "--log-level-file", "none",
    ]  # fmt: skip
    outcome = dbtRunner(manifest).invoke(command)
    if outcome.exception is not None:
        raise _translated(str(outcome.exception), "dbt stopped") from outcome.exception
    return outcome.result


def _work_dir() -> Path:
    """Return the folder for everything that dbt writes."""
    work = Path(tempfile.gettempdir()) / "tugboat-dbt"
    work.mkdir(exist_ok=True)
    return work


def variables(**values: int | str | dict[str, str] | dict[str, float]) -> list[str]:
    """Return the arguments that replace variables of sql/dbt_project.yml."""
    return ["--vars", json.dumps(values)]


def _node_result(result: Any) -> NodeResult:
    node = result.node
    attached = getattr(node, "attached_node", None) or (node.depends_on.nodes or [""])[0]
    generic_test = getattr(node, "test_metadata", None)
    return NodeResult(
        name=node.name,
        check=generic_test.name if generic_test else node.name,
        resource_type=str(getattr(node.resource_type, "value", node.resource_type)),
        status=str(getattr(result.status, "value", result.status)),
        seconds=round(result.execution_time, 2),
        failures=int(result.failures or 0),
        message=" ".join((result.message or "").split()),
        column=getattr(node, "column_name", None) or "",
        model=attached.split(".")[-1],
        arguments={
            name: value
            for name, value in (generic_test.kwargs if generic_test else {}).items()
            if name not in ("model", "column_name")
        },
        compiled=getattr(node, "compiled_code", None) or "",
    )


def _translated(message: str, subject: str) -> Exception:
    """Return dbt's error as one of ours."""
    if any(sign in message for sign in CONNECTION_FAILURES):
        return WarehouseUnavailable(
            f"{subject}: Snowflake does not answer ({message[:300]}). Run the step again later."
        )
    return DbtFailed(
        f"{subject}: {message[:1000]}. Reproduce it with `python -m sql.run_dbt`, correct sql/ and deploy again."
    )


def dbt_environment(credentials: Credentials) -> dict[str, str]:
    """Return the variables that sql/profiles.yml reads."""
    return {
        "TUGBOAT_SNOWFLAKE_ACCOUNT": credentials.account,
        "TUGBOAT_SNOWFLAKE_USER": credentials.user,
        "DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY": credentials.private_key_pem,
        "TUGBOAT_SNOWFLAKE_ROLE": credentials.role,
        "TUGBOAT_SNOWFLAKE_WAREHOUSE": credentials.warehouse,
        "TUGBOAT_SNOWFLAKE_DATABASE": credentials.database,
        "TUGBOAT_SNOWFLAKE_HOST": credentials.host or "",
        "TUGBOAT_SNOWFLAKE_PORT": str(credentials.port),
        "TUGBOAT_SNOWFLAKE_PROTOCOL": credentials.protocol,
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def _environment(credentials: Credentials, home: str) -> Iterator[None]:
    """Set the variables for one command; HOME too, because Lambda's is not writable."""
    values = {**dbt_environment(credentials), "HOME": home}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _thread_locks() -> Iterator[None]:
    """Give dbt locks of threads where it asks for locks of processes."""
    import multiprocessing.context

    context: Any = multiprocessing.context.BaseContext
    before = context.Lock, context.RLock
    context.Lock, context.RLock = lambda _self: threading.Lock(), lambda _self: threading.RLock()
    try:
        yield
    finally:
        context.Lock, context.RLock = before
