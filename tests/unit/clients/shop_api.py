"""A collector and a recommender on 127.0.0.1 for the tests of the Python SDK."""

import json
from collections.abc import Callable
from typing import Any

from testing.troubled_service import Answer, Received, json_answer

RECOMMENDATION = {
    "items": [{"item_id": "boot-8", "score": 0.5}],
    "source": "model",
    "reason": "",
    "model_version": "m1",
    "variant": "all-traffic",
    "request_id": "r1",
}


class ShopApi:
    """Store each event once, as the warehouse does, and refuse what a test wants refused."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.batches: list[int] = []
        # Each answers one request, before any event is stored.
        self.refusals: list[Answer] = []
        self.refuses: Callable[[dict[str, Any]], bool] = lambda event: False
        # A body with such an event is refused as a whole.
        self.spoils: Callable[[dict[str, Any]], bool] = lambda event: False

    def __call__(self, received: Received) -> Answer:
        """Answer a request."""
        self.requests.append(received)
        if received.line.startswith("POST /recommend"):
            return json_answer(RECOMMENDATION)
        if self.refusals:
            return self.refusals.pop(0)
        events = json.loads(received.body)["events"]
        if any(self.spoils(event) for event in events):
            return refusal(400, "body_not_json")
        refused = []
        for index, event in enumerate(events):
            if self.refuses(event):
                reason = {"reason": "field_invalid", "message": "price: 'alice@example.org' is no number"}
                refused.append({"index": index, "event_id": event["event_id"], **reason})
            else:
                self.stored.setdefault(event["event_id"], event)
        self.batches.append(len(events))
        return json_answer({"accepted": len(events) - len(refused), "refused": refused, "request_id": "r"})


def refusal(status: int, reason: str, **headers: str) -> Answer:
    """Return the answer that refuses a whole request."""
    body = {"error": {"reason": reason, "message": "a sentence"}, "request_id": "r"}
    return Answer(status, json.dumps(body).encode(), {"content-type": "application/json", **headers})
