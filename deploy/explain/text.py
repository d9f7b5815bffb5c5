"""The explanation of a recommendation as text for a terminal."""

from collections.abc import Iterator

from deploy.explain.explanation import Explanation, sentence
from deploy.explain.trace import Json


def render(explanation: Explanation) -> str:
    """Return the whole text."""
    document = explanation.to_json()
    return "\n".join(
        [
            *_recommendation(document["recommendation"]),
            *_session(document),
            *_model(document["model"]),
            *_reproduction(document),
            *(["", "notes"] if document["notes"] else []),
            *(f"  {note}." for note in document["notes"]),
        ]
    )


def _recommendation(document: Json) -> Iterator[str]:
    yield f"recommendation {document['recommendation_id']}, found in {document['found_in']}"
    yield f"  {'answered at':<14}{document['issued_at']} UTC"
    yield f"  {'shop, session':<14}{document['shop_id']}, {document['session_id'] or 'unknown'}"
    yield f"  {'by':<14}model {document['model_version'] or 'unknown'}, variant {document['variant'] or 'unknown'}"
    if document["outcome"]:
        counted = ", ".join(
            f"{count} {name}" for name, count in document["outcome"].items() if name != "revenue"
        )
        yield f"  {'outcome':<14}{counted}, revenue {document['outcome']['revenue']:.2f}"
    if document["verdicts"]:
        yield f"  {'receipts':<14}" + ", ".join(f"{n} {name}" for name, n in document["verdicts"].items())


def _session(document: Json) -> Iterator[str]:
    yield ""
    yield f"session before the answer: {len(document['session'])} events"
    yield from _events(document["session"])
    yield f"events that name the answer: {len(document['after'])}"
    yield from _events(document["after"])


def _events(events: list[Json]) -> Iterator[str]:
    for event in events:
        items = ", ".join(event["item_ids"])
        yield f"  {event['time'][:23]}  {event['event_name']:<26}{items}"
        state = "" if event["file"] == "raw" else f" ({event['file']})"
        yield f"    {event['key']} line {event['line']}{state}"


def _model(document: Json | None) -> Iterator[str]:
    if document is None:
        return
    yield ""
    yield f"model {document['model_version']}: release {document['release']}"
    lines = {
        "published at": document["published_at"],
        "archive": document["archive_uri"],
        "run": document["run_id"],
        "execution": document["execution"]
        and f"{document['execution']['status']}, {document['execution']['started_at']}, {document['execution']['arn']}",
        "snapshot": document["snapshot"]
        and f"{document['snapshot']['interactions']} interactions of {document['snapshot']['sessions']} sessions, "
        f"{document['snapshot']['items']} items, {document['snapshot']['manifest_uri']}",
        "gate": document["gate"] and _gate(document["gate"]),
        "data checks": document["validation_uri"],
        "code": document["job"] and document["job"]["code_uri"],
        "image": document["job"] and document["job"]["image"],
        "serving image": document["serving_image"],
    }
    for name, value in lines.items():
        if value:
            yield f"  {name:<14}{value}"
    for gap in document["gaps"]:
        yield f"  missing: {gap}."


def _gate(gate: Json) -> str:
    verdict = "passed" if gate["passed"] else "failed"
    override = f", published all the same: {gate['override_reason']}" if gate["override_reason"] else ""
    return f"{verdict}{override}, {gate['checks']} checks, {gate['report_uri']}"


def _reproduction(document: Json) -> Iterator[str]:
    reproduction = document["reproduction"]
    yield ""
    yield f"the same items again? {sentence(reproduction['status'])}"
    for reason in reproduction["reasons"]:
        yield f"  {reason}."
    if reproduction["asked"]:
        yield f"  asked with    {', '.join(reproduction['asked'])}"
    if unknown := (reproduction["explanation"] or {}).get("session_unknown"):
        yield f"  unknown       {', '.join(unknown)}: not in the model's vocabulary"
    if reproduction["answer"]:
        yield f"  answer        {', '.join(reproduction['answer'])}"
    shown = {one["item_id"]: one for one in document["recommendation"]["shown"]}
    if reproduction["explanation"]:
        for item in reproduction["explanation"]["items"]:
            yield from item_lines(item, reproduction["explanation"], shown.get(item["item_id"]))
    for item in reproduction["fallback"] or []:
        yield from _fallback_lines(item, shown.get(item["item_id"]))


def item_lines(item: Json, explanation: Json, shown: Json | None) -> Iterator[str]:
    """Yield the explanation of one item."""
    yield ""
    seen = f"  ({', '.join(shown['events'])}, slot {shown['slot']})" if shown else ""
    if not item["shown"]:
        yield f"  -. {item['item_id']}{seen}: {item['why_not']}"
        return
    yield f"  {item['place']}. {item['item_id']}  score {item['score']:.4g}{seen}"
    popularity = item["popularity"]
    if "encoder" not in item:
        yield f"     popularity: place {popularity['place']} of all items, {popularity['share']:.2%} of the clicks"
        return
    similar = item["similar_sessions"]
    yield (
        f"     mainly {item['mainly']}: encoder {item['encoder']:.4g}, similar sessions {similar['score']:.4g}, "
        # Archives of before decision 0080 have no catalogue sessions.
        f"catalogue {item.get('catalogue', 0.0):.4g}, popularity place {popularity['place']}"
    )
    if item["brought_by"]:
        without = next(one["score"] for one in item["without"] if one["item_id"] == item["brought_by"])
        yield f"     brought by {item['brought_by']}: without it the score is {without:.4g}"
    else:
        yield "     no single item of the session raises its score"
    if similar["voters"]:
        parts = ", ".join(f"{one['voters']} share {one['item_id']}" for one in similar["by_item"])
        yield f"     {similar['voters']} of {explanation['neighbours']} similar sessions vote for it: {parts}"
    if item["ranker"]:
        features = ", ".join(f"{one['name']} {one['effect']:+.2f}" for one in item["ranker"]["features"])
        yield (
            f"     ranker: from place {item['blend_place']} to {item['place']}, "
            f"logit {item['ranker']['logit_change']:+.2f} ({features})"
        )


def _fallback_lines(item: Json, shown: Json | None) -> Iterator[str]:
    seen = f"  ({', '.join(shown['events'])}, slot {shown['slot']})" if shown else ""
    if item["from"] == "related":
        document = f"place {item['place']} of the items related to {item['brought_by']}"
    elif item["from"] == "popular":
        document = f"place {item['place']} of the popular items"
    else:
        document = "on no list of this model's fallback"
    yield f"  {item['item_id']}{seen}: {document}"
