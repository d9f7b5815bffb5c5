"""Generate conversations with the model server, as of callers, proxies and attackers, by seed and number."""

import json
import random
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from benchmarks.fuzz_requests import Maker

ENDPOINT = "POST /invocations"
MAX_BODY_BYTES = 1 << 20
CRLF = b"\r\n"

PATHS = [
    *(b"/invocations", b"/invocations", b"/invocations", b"/ping", b"/", b"*", b"//", b"/ping/", b"/%70ing"),
    *(b"/invocations?a=b#c", b"http://h/ping", b"http://h", b"/\xff", b"/" + b"x" * 3000, b"ping", b"h:80"),
]
METHODS = [
    *(b"POST", b"POST", b"POST", b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"PRI", b"post", b"G\x00T"),
    b"M-SEARCH",
]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/9.9", b"http/1.1", b""]
HEADERS = [
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: close, close", b"Connection: \xff"),
    *(b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    *(b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: 200-ok", b"Content-Type: text/csv"),
    *(b"Content-Type: application/json; charset=utf-16", b"Content-Type:", b"Content-Length: 5"),
    *(b"Content-Length: -1", b"Content-Length: +5", b"Content-Length: 0x10", b"Content-Length: 1 2"),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: 1048577", b"Transfer-Encoding: chunked"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, x"),
    *(b"Host: ", b"Host: a\r\n b", b"X: \x00", b"X : y", b": y", b"X", b"X: " + b"y" * 70_000, b"\tX: y"),
    *(b"X: 1\nY: 2", b"Trailer: Content-Type", b"TE: trailers", b"Accept-Encoding: gzip"),
]
CHUNK_SIZES = [b"", b"-1", b"0x5", b"fffffffffffffffff", b"5;a=b", b"5 ", b"g", b"0", b"00000005"]


class Ending(Enum):
    """The caller's last action, after all bytes are sent."""

    READ = "read"
    HANG_UP = "hang_up"
    RESET = "reset"
    HALF_CLOSE = "half_close"
    LINGER = "linger"


class Conversation(NamedTuple):
    """The bytes of one connection, in the parts in which they are sent."""

    parts: Sequence[bytes]
    ending: Ending
    expected: tuple[int, ...] | None
    """Statuses of the responses; None if the bytes are spoiled, so that any refusal and no response will do."""
    requests: int
    """At most so many responses."""


class Talker:
    """The conversations of a seed. The same seed and number give the same bytes, independent of earlier ones."""

    def __init__(self, seed: int, items: Sequence[str]) -> None:
        self._seed, self._items = seed, items
        self._maker = Maker("POST /recommend", seed)

    def conversation(self, number: int) -> Conversation:
        dice = random.Random(f"{self._seed} {ENDPOINT} {number}")
        kind = dice.random()
        if kind < 0.3:
            sent, expected = self._valid(dice)
            requests = len(expected)
            spoiled = False
        elif kind < 0.6:
            requests = dice.choice([1, 1, 1, 2, 4])
            sent, spoiled = b"".join(self._odd(dice) for _ in range(requests)), True
        else:
            sent, expected = self._valid(dice)
            requests = len(expected)
            sent, spoiled = self._spoil(dice, sent), True
        ending = dice.choices(list(Ending), [60, 20, 8, 6, 6])[0]
        # In spoiled bytes, every line can count as a request.
        return Conversation(
            self._cut(dice, sent),
            ending,
            None if spoiled else expected,
            requests + sent.count(b"\n") * spoiled,
        )

    def _valid(self, dice: random.Random) -> tuple[bytes, tuple[int, ...]]:
        """Make one request, or several pipelined ones, of which the last may close the connection."""
        number = dice.choice([1, 1, 1, 1, 2, 5])
        found, statuses = b"", []
        for at in range(number):
            last = at == number - 1
            close = (
                [dice.choice([b"Connection: close", b"connection: Close"])]
                if last and dice.random() < 0.4
                else []
            )
            version = b"HTTP/1.0" if last and dice.random() < 0.2 else b"HTTP/1.1"
            if dice.random() < 0.15:
                found += CRLF.join([b"GET /ping " + version, *close, b"", b""])
                statuses.append(200)
                continue
            body, status = self._query(dice)
            head = [b"POST /invocations " + version, b"Host: model", *close]
            if dice.random() < 0.7:
                head.append(b"Content-Type: application/json")
            if version == b"HTTP/1.1" and dice.random() < 0.2:
                found += CRLF.join([*head, b"Transfer-Encoding: chunked", b"", self._chunked(dice, body)])
            else:
                found += CRLF.join([*head, b"Content-Length: %d" % len(body), b"", body])
            statuses.append(status)
        return found, tuple(statuses)

    def _query(self, dice: random.Random) -> tuple[bytes, int]:
        """Make a body, and return it with the status of its response."""
        items = dice.choices(self._items, k=dice.choice([0, 1, 3, 10, 200]))
        query = {"items": items, "k": dice.choice([1, 20, 100]), "exclude": dice.choices(self._items, k=3)}
        wrong = dice.random()
        if wrong < 0.1:
            query["k"] = dice.choice([0, 101, -1, True, "5", None, 1.5])
            return json.dumps(query).encode(), 400
        if wrong < 0.2:
            query[dice.choice(["items", "exclude"])] = dice.choice(
                [[1], [""], ["x" * 257], {}, "a", ["a"] * 1001]
            )
            return json.dumps(query).encode(), 400
        if wrong < 0.21:
            return b" " * (MAX_BODY_BYTES + dice.choice([1, 500])) + json.dumps(query).encode(), 413
        return json.dumps(query).encode(), 200

    def _chunked(self, dice: random.Random, body: bytes) -> bytes:
        found = b""
        step = max(1, len(body) // dice.choice([1, 2, 20]))
        for at in range(0, len(body), step):
            part = body[at : at + step]
            found += b"%x\r\n%b\r\n" % (len(part), part)
        trailer = dice.choice([b"", b"", b"X-Check: 1\r\n", b"Content-Type: text/csv\r\n"])
        return found + b"0\r\n" + trailer + CRLF

    def _odd(self, dice: random.Random) -> bytes:
        """Make a request of odd parts."""
        body = self._maker.body(
            dice, {"items": [self._maker.odd_value(dice)], "k": self._maker.odd_value(dice)}
        )
        words = [dice.choice(METHODS), dice.choice(PATHS), dice.choice(VERSIONS)]
        head = [b" ".join(words), *dice.choices(HEADERS, k=dice.choice([0, 1, 1, 2, 3, 6]))]
        chance = dice.random()
        if chance < 0.6:
            head.append(b"Content-Length: %d" % max(0, len(body) + dice.choice([0, 0, 0, 0, -1, 1, 50])))
        elif chance < 0.8:
            head.append(b"Transfer-Encoding: chunked")
            body = self._chunked(dice, body[:5000])
            if dice.random() < 0.5:
                body = body.replace(body.split(CRLF)[0], dice.choice(CHUNK_SIZES), 1)
        return CRLF.join([*head, b"", body])

    def _spoil(self, dice: random.Random, sent: bytes) -> bytes:
        """Change one to three places in the bytes."""
        for _ in range(dice.choice([1, 1, 2, 3])):
            # The heads have most of the relevant bytes.
            at = dice.randrange(min(len(sent), 300) if dice.random() < 0.7 else len(sent)) if sent else 0
            size = dice.choice([1, 1, 2, 10, 100])
            sent = dice.choice(
                [
                    sent[:at],
                    sent[:at] + sent[at + size :],
                    sent[:at] + sent[at : at + size] * 2 + sent[at + size :],
                    sent[:at] + dice.randbytes(size) + sent[at:],
                    sent[:at] + bytes([sent[at] ^ 1 << dice.randrange(8)]) + sent[at + 1 :] if sent else sent,
                    sent.replace(CRLF, b"\n", dice.choice([1, -1])),
                    sent[:at] + dice.choice(HEADERS) + CRLF + sent[at:],
                ]
            )
        return sent

    def _cut(self, dice: random.Random, sent: bytes) -> list[bytes]:
        cuts = sorted(dice.randrange(len(sent) + 1) for _ in range(dice.choice([0, 0, 0, 1, 2, 5])))
        bounds = [0, *cuts, len(sent)]
        return [sent[begin:end] for begin, end in pairwise(bounds) if begin < end]
