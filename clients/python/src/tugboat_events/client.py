"""The client of a back end: events in the background, recommendations within a time limit."""

from __future__ import annotations

import atexit
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from tugboat_events.catalogue import ChangedProducts, change_products
from tugboat_events.contract import (
    RECOMMEND_EXCLUDE_MAX,
    RECOMMEND_ITEMS_MAX,
    RECOMMEND_K_MAX,
    EventName,
    Fields,
    Placement,
    Recommendation,
)
from tugboat_events.event import encoded
from tugboat_events.sender import Refused, Sender
from tugboat_events.transport import Transport, Unreachable
from tugboat_events.waiting import Counts, Waiting

if TYPE_CHECKING:
    # Type checkers bring this package. At run time nothing needs it.
    from typing_extensions import Unpack

log = logging.getLogger("tugboat_events")

# Clients that are not closed: each has a thread, which outlives the caller's variable.
_clients: set[Tugboat] = set()


class Tugboat:
    """A shop's connection to Tugboat. Make one per process; all methods may be called from every thread.

    A process that forks, such as gunicorn with preload_app, may make it before the fork.
    """

    def __init__(
        self,
        api_url: str,
        shop: str,
        key: str | None = None,
        *,
        secret_key: str | None = None,
        on_refused: Callable[[Refused], None] | None = None,
        max_waiting: int = 10_000,
        max_age_s: float = 1.0,
    ) -> None:
        """Connect to nothing yet.

        Args:
            api_url: the address that the deployment prints
            shop: the shop's id
            key: the shop's key, which its pages have too. Events with it count as those of a page
            secret_key: the shop's secret key, instead: events with it count as the shop's own, of any age
            on_refused: is called for each event that the collector does not take, instead of a line in the log.
                The background thread calls it, so it must be quick and safe for threads
            max_waiting: the number of events that may wait; while so many wait, new ones are dropped
            max_age_s: the longest time that an event waits for others to be sent with it

        Raises:
            ValueError: the address is not one of HTTP, the shop is empty, there is no key, or there are both keys.
        """
        # An empty secret key is often a variable that is not set. It must not make the shop's own events a page's.
        given = [one for one in (key, secret_key) if one is not None]
        if not shop or not all(given) or len(given) != 1:
            raise ValueError(
                "pass the shop, and either key or secret_key, none of them empty: the operator of Tugboat gives them"
            )
        self._api_url, self._shop, self._key, self._secret_key = api_url, shop, key, secret_key
        self._on_refused, self._max_waiting, self._max_age_s = on_refused, max_waiting, max_age_s
        self._start()
        _clients.add(self)

    def _start(self) -> None:
        self._transport = Transport(self._api_url)
        self._waiting = Waiting(self._max_waiting, self._max_age_s)
        self._sender = Sender(self._transport, self._key, self._secret_key, self._waiting, self._on_refused)

    def track(self, event_name: EventName, **fields: Unpack[Fields]) -> str | None:
        """Queue an event, which is sent in the background. This never waits for the network and never raises.

        An event with a transaction_id gets an event_id made from its contents: repeating the call repeats the id.

        Returns:
            The event_id, or None if the event is dropped because the queue is full or closed.
        """
        event, changes = encoded(self._shop, event_name, fields)
        if changes:
            log.warning("tugboat: event %s (%s): %s", event.event_id, event_name, "; ".join(changes))
        return event.event_id if self._sender.offer(event) else None

    def recommend(
        self,
        items: Sequence[str],
        k: int | None = None,
        *,
        exclude: Sequence[str] = (),
        session_id: str | None = None,
        placement: Placement | None = None,
        candidates: Sequence[str] = (),
        history: Sequence[str] = (),
        bought: Sequence[str] = (),
        category: str | None = None,
        rising: bool = False,
        because: bool = False,
        timeout_s: float = 0.5,
    ) -> Recommendation | None:
        """Ask for recommendations for a session's items, oldest first.

        Args:
            items: the session's items; the last ones count
            k: the number of items; the server has a default
            exclude: items that the answer must not contain, such as those in the cart
            session_id: the session_id of the events; with it, the answer has a receipt
            placement: what the carousel shows; the server has a default
            candidates: for `rerank`: the list to put in order
            history: for `home` and `recently_viewed`: views of earlier sessions, oldest first
            bought: for `buy_again`: products bought before, oldest first
            category: for `popular`: the path of a category
            rising: for `popular`: True: products whose share of the views grows are first
            because: True: each item says what brought it
            timeout_s: the longest time that this call takes

        Returns:
            The answer, or None if there is none in time: then show something else.
        """
        question: dict[str, Any] = {"items": [str(item) for item in items][-RECOMMEND_ITEMS_MAX:]}
        if k is not None:
            question["k"] = min(k, RECOMMEND_K_MAX)
        if exclude:
            question["exclude"] = [str(item) for item in exclude][-RECOMMEND_EXCLUDE_MAX:]
        if session_id:
            question.update(shop=self._shop, session=session_id)
        if placement:
            question["placement"] = placement
        for name, given in (("candidates", candidates), ("history", history), ("bought", bought)):
            if given:
                question[name] = [str(item) for item in given]
        if category:
            question["category"] = category
        if rising:
            question["rising"] = True
        if because:
            question["because"] = True
        try:
            response = self._transport.post_within("/recommend", json.dumps(question).encode(), timeout_s)
        except Unreachable as unreachable:
            # Not a warning: an outage would be a line per page.
            log.info("tugboat: no recommendation: %s", unreachable)
            return None
        if response.status != 200 or not _is_recommendation(response.json):
            log.info("tugboat: no recommendation: HTTP %d", response.status)
            return None
        return cast(Recommendation, response.json)

    def change_products(
        self, changes: Iterable[Mapping[str, Any]], *, timeout_s: float = 60.0
    ) -> ChangedProducts:
        """Change or delete products of the catalogue, in the order of the changes. Call it again after an error.

        Each change has an item_id and the fields that change, or `"delete": True`. None clears a field.

        Args:
            changes: the changes, of any number
            timeout_s: the longest time that this call waits for the network between attempts

        Raises:
            CatalogueError: the changes, or the rest of them, are not stored.
            ValueError: the client has no secret key, or a change cannot be written as JSON.
            TypeError: a change cannot be written as JSON.
        """
        if self._secret_key is None:
            raise ValueError("a change of products needs the secret_key: the shop's key is in its pages")
        return change_products(changes, self._transport, self._secret_key, timeout_s)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send waiting events now; return True if all are stored or refused within the time limit."""
        return self._waiting.wait_settled(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Send what waits and take no more events; return False if some are dropped for lack of time.

        The end of the process calls it for clients that are still open.
        """
        _clients.discard(self)
        return self._sender.close(timeout_s)

    @property
    def counts(self) -> Counts:
        """The events that this process tracked, by what became of them."""
        return self._waiting.counts()

    def __enter__(self) -> Tugboat:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _is_recommendation(answer: Any) -> bool:
    items = answer.get("items") if isinstance(answer, dict) else None
    return isinstance(items, list) and all(
        isinstance(item, dict) and isinstance(item.get("item_id"), str) for item in items
    )


def _start_again() -> None:
    """Give a forked process queues, locks and connections of its own: the parent sends what waited before."""
    for client in list(_clients):
        client._start()


def _close_all() -> None:
    for client in list(_clients):
        client.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_start_again)
