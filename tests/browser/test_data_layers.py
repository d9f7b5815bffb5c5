"""Data layers as real plug-ins write them, read in Chromium: the collector refuses none of their events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Visit

FOLDER = Path(__file__).with_name("data_layers")
# Set by the SDK and the collector for every event, with values of their own.
STAMPED = {
    "schema_version",
    "shop_id",
    "client_id",
    "session_id",
    "client_time_ms",
    "sequence",
    "page_location",
    "server",
}
RUN = """(calls) => {
  function gtag() { dataLayer.push(arguments); }
  for (const call of calls) call.gtag ? gtag(...call.gtag) : dataLayer.push(call.push);
}"""


def told(event: dict[str, Any]) -> list[Any]:
    """Return an event's name and the fields that the page decides; orders keep their event id."""
    dropped = STAMPED | {"event_name"} | (set() if event["event_name"] == "purchase" else {"event_id"})
    return [event["event_name"], {name: value for name, value in event.items() if name not in dropped}]


@pytest.mark.parametrize("when", ["before the script", "after the script"])
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_plug_in_s_data_layer_becomes_the_shop_s_events(visit: Visit, path: Path, when: str) -> None:
    layer = json.loads(path.read_text())
    early = f"<script>window.dataLayer = []; ({RUN})({json.dumps(layer['calls'])})</script>"
    visit.write(attributes=layer["attributes"], head=early if when == "before the script" else "")
    page = visit.open()
    if when == "after the script":
        page.evaluate(RUN, layer["calls"])
    page.evaluate("tugboat.flush()")
    visit.api.wait_for(len(layer["expected"]))
    assert [told(event) for event in visit.api.events()] == layer["expected"]
    assert visit.api.refused() == []
    assert b"someone@example.com" not in b"".join(request.body for request in visit.api.requests)
