"""Send the requests of benchmarks.fuzz over HTTP, and check S3 afterwards."""

import gzip
import http.client
import json
import threading
import time
from collections import defaultdict
from typing import Any
from urllib.parse import quote, urlsplit

from benchmarks.fuzz_checks import Answered, Failed, Findings, Stored, compare, expected
from benchmarks.fuzz_in_process import FALLBACK
from benchmarks.fuzz_requests import Maker
from demo.terminal import Progress
from functions.platform.contract import RAW_PREFIX, REJECTED_PREFIX
from functions.platform.s3_keys import fallback_key
from local.aws.proxy_event import Request, Response
from testing.stage import EVENTS_BUCKET, MODELS_BUCKET, Stage

LANDING_TIMEOUT_S = 60.0
# Statuses of API Gateway itself, before any Lambda: a body too large, an unknown encoding.
OF_THE_GATEWAY = {413, 415}


class Api:
    """A deployed API and its buckets; without a model, /recommend answers from a fallback."""

    def __init__(self, stage: Stage, connections: int) -> None:
        self._address, self._connections = urlsplit(stage.api_url), connections
        self._s3 = stage.client("s3")
        self._s3.put_object(
            Bucket=MODELS_BUCKET, Key=fallback_key("demo"), Body=json.dumps(FALLBACK).encode()
        )
        self._lines: dict[str, Stored] = {}
        self._read: set[str] = set()

    def fuzz(self, maker: Maker, first: int, requests: int, findings: Findings) -> None:
        """Send the requests from several connections, then find everything that the responses promise."""
        numbers = iter(range(first, first + requests))
        lock = threading.Lock()
        promised: dict[str, tuple[int, Stored]] = {}
        progress = Progress(maker.endpoint, requests, "requests")

        def work() -> None:
            connection = http.client.HTTPConnection(self._address.netloc, timeout=60)
            while True:
                with lock:
                    number = next(numbers, None)
                    progress.update(findings.statuses.total() + findings.failures)
                if number is None:
                    connection.close()
                    return
                request = maker.request(number)
                try:
                    answered = self._ask(connection, request)
                    of_the_gateway = answered.response.status in OF_THE_GATEWAY and not answered.request_id
                    stored = Stored(0, ()) if of_the_gateway else expected(maker.endpoint, answered.response)
                except Failed as failed:
                    with lock:
                        findings.fail(maker.endpoint, number, request, str(failed))
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    with lock:
                        findings.fail(maker.endpoint, number, request, f"{type(error).__name__}: {error}")
                else:
                    with lock:
                        findings.add(answered.response, stored)
                        if stored != Stored(0, ()):
                            promised[answered.request_id] = number, stored

        threads = [threading.Thread(target=work) for _ in range(self._connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        progress.finish(requests)
        self._reconcile(maker, promised, findings)

    def _ask(self, connection: http.client.HTTPConnection, request: Request) -> Answered:
        path = self._address.path + request.path
        # A client escapes characters that a request line cannot contain.
        query = quote(request.query, safe="%&=;+[]()<>'\"/:,*!$~@|^`{}\\", encoding="latin-1")
        connection.putrequest(request.method, f"{path}?{query}" if query else path, skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value.encode("latin-1"))
        if request.body or request.method == "POST":
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        body, headers = answer.read(), answer.getheaders()
        named = {name.lower(): value for name, value in headers}
        if named.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return Answered(Response(answer.status, body, headers), named.get("x-amzn-requestid", ""))

    def _reconcile(self, maker: Maker, promised: dict[str, tuple[int, Stored]], findings: Findings) -> None:
        ends_s = time.monotonic() + LANDING_TIMEOUT_S
        while True:
            self._read_new_objects()
            missing = [request_id for request_id in promised if request_id not in self._lines]
            if not missing or time.monotonic() > ends_s:
                break
            time.sleep(1)
        for request_id, (number, stored) in promised.items():
            try:
                compare(stored, self._lines.pop(request_id, Stored(0, ())))
            except Failed as failed:
                findings.fail(maker.endpoint, number, maker.request(number), str(failed))
        for request_id, stored in self._lines.items():
            findings.fail(
                maker.endpoint, None, None, f"stored, but without a response: {request_id} {stored}"
            )
        self._lines.clear()

    def _read_new_objects(self) -> None:
        accepted: dict[str, int] = defaultdict(int)
        refused: dict[str, list[str]] = defaultdict(list)
        for line in self._new_lines(RAW_PREFIX):
            accepted[line["server"]["request_id"]] += 1
        for line in self._new_lines(REJECTED_PREFIX):
            refused[line["request_id"]].append(
                line["reason"] if line["payload"] is not None else "no payload"
            )
        for request_id in accepted.keys() | refused.keys():
            before = self._lines.get(request_id, Stored(0, ()))
            reasons = tuple(sorted([*before.refused, *refused[request_id]]))
            self._lines[request_id] = Stored(before.accepted + accepted[request_id], reasons)

    def _new_lines(self, prefix: str) -> list[dict[str, Any]]:
        found = []
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=EVENTS_BUCKET, Prefix=prefix):
            for key in {one["Key"] for one in page.get("Contents", [])} - self._read:
                body = self._s3.get_object(Bucket=EVENTS_BUCKET, Key=key)["Body"].read()
                found += [json.loads(line) for line in gzip.decompress(body).splitlines()]
                self._read.add(key)
        return found
