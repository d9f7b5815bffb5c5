"""The HTTP server: fakesnow's routes, with the logins and long statements that the connector expects."""

import asyncio
import contextlib
import gzip
import json
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import duckdb
import fakesnow.server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.warehouse import columns, cursor, describe, flatten, load, merge, passes
from local.warehouse.access import keys
from local.warehouse.access.account import Account
from local.warehouse.access.privileges import Session
from local.warehouse.access.storage import StorageAccess
from local.warehouse.pipes import Pipes
from local.warehouse.purge import Purge
from local.warehouse.s3_files import S3Files
from local.warehouse.scans import Counting
from local.warehouse.store import Store, write_metadata_separately

# The connector waits 60 s for a response, then sends the statement again. After this shorter time the server answers
# "still running" (Snowflake's code 333334), and the connector polls. fakesnow 0.12.1 always answers in one response.
RESPONSE_LIMIT_S = 30.0
STILL_RUNNING = "333334"
UNKNOWN_QUERY = "000709"
INVALID_TOKEN = "390144"
ROLE_NOT_GRANTED = "390189"


def make_app(
    state: Path,
    aws_endpoint: str,
    memory_limit: str = "",
    users: Mapping[str, str] | None = None,
    counting: Counting | None = None,
    clock_ahead_s: int = 0,
) -> Starlette:
    """Return the local Snowflake as an ASGI application with its databases in `state`. `users` exist with their roles."""
    # Without this variable, boto3 looks for credentials on the network.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    store = Store(state, memory_limit, counting, clock_ahead_s)
    files = S3Files(aws_endpoint, counting.listed if counting else None)
    store.duck_conn.register_filesystem(files)
    write_metadata_separately(store)
    keys.first_users(store.account, state, users or {})
    flatten.install()
    load.install(files)
    describe.install()
    passes.install()
    merge.install()
    columns.install()
    storage = StorageAccess(aws_endpoint, files)
    pipes = Pipes(store.account, storage, store.duck_conn, aws_endpoint)
    purge = Purge(store.duck_conn)
    cursor.install(store.account, storage, pipes, purge)
    fakesnow.server.shared_fs = store

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        pipes.close()
        purge.run()
        store.close()

    queries = Queries(purge)
    logins = Logins(store.account)
    own_routes = [
        Route("/health", health),
        Route("/session/v1/login-request", logins.log_in, methods=["POST"]),
        Route("/session/token-request", renew, methods=["POST"]),
        Route("/session", queries.session, methods=["POST"]),
        Route("/session/heartbeat", acknowledge, methods=["POST"]),
        Route("/telemetry/send", acknowledge, methods=["POST"]),
        Route("/queries/v1/query-request", queries.run, methods=["POST"]),
        Route("/queries/{query_id}/result", queries.result),
    ]
    return Starlette(routes=[*own_routes, *fakesnow.server.routes], lifespan=lifespan)


async def health(_: Request) -> JSONResponse:
    """Answer the health check."""
    return JSONResponse({"status": "ok"})


async def acknowledge(_: Request) -> JSONResponse:
    """Accept and drop the connector's telemetry."""
    return JSONResponse({"success": True, "data": None})


async def renew(request: Request) -> JSONResponse:
    """Return the same token again, because sessions do not expire here."""
    token = fakesnow.server.to_token(request)
    data = {
        "sessionToken": token,
        "masterToken": token,
        "validityInSecondsST": 3600,
        "validityInSecondsMT": 14_400,
    }
    return JSONResponse({"data": data, "success": True})


class Logins:
    """Logins of users, by key pair, with the role and warehouse that they ask for."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def log_in(self, request: Request) -> JSONResponse:
        """Check the token and the role, and add the fields to fakesnow's login that the connector needs to renew a session."""
        body = await request.body()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        asked = json.loads(body)["data"]
        user = str(asked.get("LOGIN_NAME", "")).upper()
        if not keys.token_is_valid(self._account, user, asked.get("TOKEN") or ""):
            return self._refused(INVALID_TOKEN, "JWT token is invalid.")
        role = request.query_params.get("roleName", "PUBLIC").upper()
        if not self._account.user_has_role(user, role):
            return self._refused(
                ROLE_NOT_GRANTED,
                f"Role '{role}' specified in the connect string does not exist or not authorized. Contact your local "
                "system administrator, or attempt to login with another role, e.g. PUBLIC.",
            )
        response = await fakesnow.server.login_request(request)
        answer = json.loads(bytes(response.body))
        token = answer["data"]["token"]
        # As in Snowflake, a warehouse without privileges is no error before the first query.
        warehouse = request.query_params.get("warehouse", "").upper()
        fakesnow.server.sessions[token].access = Session(user, role, warehouse)
        answer["data"] |= {
            "masterToken": token,
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14_400,
            "sessionId": 1,
        }
        return JSONResponse(answer)

    def _refused(self, code: str, message: str) -> JSONResponse:
        return JSONResponse({"data": {}, "code": code, "message": message, "success": False})


class Queries:
    """Running statements, one at a time per session, because DuckDB's connections are not thread-safe."""

    def __init__(self, purge: Purge) -> None:
        self._purge = purge
        self._running: dict[str, asyncio.Task[JSONResponse]] = {}
        self._sessions: dict[str, asyncio.Lock] = {}

    async def run(self, request: Request) -> JSONResponse:
        """Run a statement, or wait for the statement that an earlier attempt of this request started."""
        query_id = request.query_params.get("requestId") or str(uuid.uuid4())
        if query_id not in self._running:
            await request.body()
            self._running[query_id] = asyncio.create_task(self._in_turn(request))
        return await self._respond(query_id)

    async def result(self, request: Request) -> JSONResponse:
        """Return the result of a statement that took longer than `RESPONSE_LIMIT_S`."""
        query_id = request.path_params["query_id"]
        if query_id in self._running:
            return await self._respond(query_id)
        return JSONResponse(
            {"data": None, "code": UNKNOWN_QUERY, "message": "unknown query", "success": False}
        )

    async def session(self, request: Request) -> JSONResponse:
        """End a session of fakesnow and close its DuckDB connection with any open transaction."""
        token = request.headers.get("Authorization", "")[17:-1]
        connection = fakesnow.server.sessions.get(token)
        response: JSONResponse = await fakesnow.server.session(request)
        if connection and token not in fakesnow.server.sessions:
            async with self._sessions.pop(token, asyncio.Lock()):
                with contextlib.suppress(duckdb.Error):  # most sessions end without a transaction
                    connection._duck_conn.rollback()
                connection.close()
            await asyncio.to_thread(self._purge.run)
        return response

    async def _in_turn(self, request: Request) -> JSONResponse:
        async with self._sessions.setdefault(fakesnow.server.to_token(request), asyncio.Lock()):
            response: JSONResponse = await fakesnow.server.query_request(request)
            return response

    async def _respond(self, query_id: str) -> JSONResponse:
        task = self._running[query_id]
        done, _ = await asyncio.wait({task}, timeout=RESPONSE_LIMIT_S)
        if done:
            self._running.pop(query_id, None)
            return task.result()
        data = {
            "getResultUrl": f"/queries/{query_id}/result",
            "queryId": query_id,
            "queryAbortsAfterSecs": 300,
        }
        return JSONResponse({"data": data, "code": STILL_RUNNING, "message": None, "success": True})
