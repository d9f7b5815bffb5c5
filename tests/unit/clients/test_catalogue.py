"""Changes of products from the Python SDK: sent until they are stored, and counted once."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from functions.catalogue.batch import parse_batch
from testing.troubled_service import Answer, Received, Trouble, TroubledService, json_answer, troubled
from tests.unit.clients.shop_api import refusal
from tugboat_events import CatalogueError, Tugboat, catalogue
from tugboat_events.contract import CATALOGUE_BATCH_LINES_MAX

CHANGES: list[dict[str, Any]] = [
    {"item_id": "boot", "price": Decimal("89.90"), "sale_price": None},
    {"item_id": "hat", "delete": True},
    {"item_id": "lamp", "stock": 3},
]


class Catalogue:
    """PUT /catalogue, which keeps the batches by their idempotency keys."""

    def __init__(self) -> None:
        self.batches: dict[str, bytes] = {}
        self.requests: list[Received] = []
        self.refusals: list[Answer] = []

    def __call__(self, received: Received) -> Answer:
        self.requests.append(received)
        if self.refusals:
            return self.refusals.pop()
        self.batches.setdefault(received.headers["idempotency-key"], received.body)
        batch = parse_batch(received.body, "demo")
        return json_answer({"accepted": batch.accepted, "refused": [one._asdict() for one in batch.refused]})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    monkeypatch.setattr(catalogue, "BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(catalogue, "REQUEST_TIMEOUT_S", 0.4)
    return Catalogue()


@pytest.fixture
def service(api: Catalogue) -> Iterator[TroubledService]:
    with troubled(api) as service:
        yield service


def shop(service: TroubledService) -> Tugboat:
    return Tugboat(service.address, "demo", secret_key="tugboat-secret-1")


def test_changes_are_json_lines_with_the_secret_key(service: TroubledService, api: Catalogue) -> None:
    changed = shop(service).change_products(CHANGES)
    assert changed.accepted == 2
    [refused] = changed.refused
    assert (refused.position, refused.item_id, refused.reason) == (2, "lamp", "field_unknown")
    [request] = api.requests
    assert request.line == "PUT /catalogue"
    assert request.headers["authorization"] == "Bearer tugboat-secret-1"
    assert json.loads(request.body.splitlines()[0]) == {
        "item_id": "boot",
        "price": 89.9,
        "sale_price": None,
    }


def test_a_batch_is_repeated_with_its_key_until_it_is_stored(
    service: TroubledService, api: Catalogue
) -> None:
    api.refusals = [refusal(503, "storage_unavailable"), refusal(429, "too_many")]
    assert shop(service).change_products(CHANGES[:2]).accepted == 2
    assert len({request.headers["idempotency-key"] for request in api.requests}) == 1
    assert len(api.requests) == 3


def test_many_changes_are_several_batches_in_their_order(service: TroubledService, api: Catalogue) -> None:
    many = [{"item_id": f"i{number}", "price": number} for number in range(CATALOGUE_BATCH_LINES_MAX)]
    changed = shop(service).change_products([*many, {"item_id": "last"}, many[0]])
    assert changed.accepted == CATALOGUE_BATCH_LINES_MAX + 1
    assert [one.position for one in changed.refused] == [CATALOGUE_BATCH_LINES_MAX]
    assert [body.count(b"\n") for body in api.batches.values()] == [CATALOGUE_BATCH_LINES_MAX, 2]


def test_a_refused_batch_and_an_outage_are_errors_without_the_secret_key(
    service: TroubledService, api: Catalogue
) -> None:
    api.refusals = [refusal(401, "wrong_secret_key")]
    with pytest.raises(CatalogueError, match="HTTP 401, wrong_secret_key") as refused:
        shop(service).change_products(CHANGES)
    service.trouble = next(trouble for trouble in Trouble if trouble is not Trouble.NONE)
    with pytest.raises(CatalogueError, match="not stored in time") as late:
        shop(service).change_products(CHANGES, timeout_s=0.1)
    assert "tugboat-secret-1" not in f"{refused.value}{late.value}"


def test_what_is_no_json_and_a_client_of_a_page_are_errors_before_sending(
    service: TroubledService, api: Catalogue
) -> None:
    with pytest.raises(TypeError, match="set is no value"):
        shop(service).change_products([{"item_id": "a", "brand": {"x"}}])
    with pytest.raises(ValueError, match="needs the secret_key"):
        Tugboat(service.address, "demo", "page-key").change_products(CHANGES)
    assert api.requests == []
