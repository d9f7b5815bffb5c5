"""The story of a recommendation as text for a terminal."""

from collections.abc import Iterator

from deploy.explain.story import Story, sentence
from deploy.explain.trace import Json


def render(story: Story) -> str:
    """Return the whole text."""
    told = story.to_json()
    return "\n".join(
        [
            *_recommendation(told["recommendation"]),
            *_session(told),
            *_model(told["model"]),
            *_again(told),
            *(["", "notes"] if told["notes"] else []),
            *(f"  {note}." for note in told["notes"]),
        ]
    )


def _recommendation(told: Json) -> Iterator[str]:
    yield f"recommendation {told['recommendation_id']}, found in {told['found_in']}"
    yield f"  {'answered at':<14}{told['issued_at']} UTC"
    yield f"  {'shop, session':<14}{told['shop_id']}, {told['session_id'] or 'unknown'}"
    yield f"  {'by':<14}model {told['model_version'] or 'unknown'}, variant {told['variant'] or 'unknown'}"
    if told["outcome"]:
        counted = ", ".join(f"{count} {name}" for name, count in told["outcome"].items() if name != "revenue")
        yield f"  {'outcome':<14}{counted}, revenue {told['outcome']['revenue']:.2f}"
    if told["verdicts"]:
        yield f"  {'receipts':<14}" + ", ".join(f"{n} {name}" for name, n in told["verdicts"].items())


def _session(told: Json) -> Iterator[str]:
    yield ""
    yield f"session before the answer: {len(told['session'])} events"
    yield from _events(told["session"])
    yield f"events that name the answer: {len(told['after'])}"
    yield from _events(told["after"])


def _events(events: list[Json]) -> Iterator[str]:
    for event in events:
        items = ", ".join(event["item_ids"])
        yield f"  {event['time'][:23]}  {event['event_name']:<26}{items}"
        state = "" if event["file"] == "raw" else f" ({event['file']})"
        yield f"    {event['key']} line {event['line']}{state}"


def _model(told: Json | None) -> Iterator[str]:
    if told is None:
        return
    yield ""
    yield f"model {told['model_version']}: release {told['release']}"
    lines = {
        "published at": told["published_at"],
        "archive": told["archive_uri"],
        "run": told["run_id"],
        "execution": told["execution"]
        and f"{told['execution']['status']}, {told['execution']['started_at']}, {told['execution']['arn']}",
        "snapshot": told["snapshot"]
        and f"{told['snapshot']['interactions']} interactions of {told['snapshot']['sessions']} sessions, "
        f"{told['snapshot']['items']} items, {told['snapshot']['manifest_uri']}",
        "gate": told["gate"] and _gate(told["gate"]),
        "data checks": told["validation_uri"],
        "code": told["job"] and told["job"]["code_uri"],
        "image": told["job"] and told["job"]["image"],
        "serving image": told["serving_image"],
    }
    for name, value in lines.items():
        if value:
            yield f"  {name:<14}{value}"
    for gap in told["gaps"]:
        yield f"  missing: {gap}."


def _gate(gate: Json) -> str:
    verdict = "passed" if gate["passed"] else "failed"
    override = f", published all the same: {gate['override_reason']}" if gate["override_reason"] else ""
    return f"{verdict}{override}, {gate['checks']} checks, {gate['report_uri']}"


def _again(told: Json) -> Iterator[str]:
    again = told["again"]
    yield ""
    yield f"the same items again? {sentence(again['status'])}"
    for reason in again["reasons"]:
        yield f"  {reason}."
    if again["asked"]:
        yield f"  asked with    {', '.join(again['asked'])}"
    if unknown := (again["explanation"] or {}).get("session_unknown"):
        yield f"  unknown       {', '.join(unknown)}: not in the model's vocabulary"
    if again["answer"]:
        yield f"  answer        {', '.join(again['answer'])}"
    shown = {one["item_id"]: one for one in told["recommendation"]["shown"]}
    if again["explanation"]:
        for item in again["explanation"]["items"]:
            yield from item_lines(item, again["explanation"], shown.get(item["item_id"]))
    for item in again["fallback"] or []:
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
        f"popularity place {popularity['place']}"
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
        told = f"place {item['place']} of the items related to {item['brought_by']}"
    elif item["from"] == "popular":
        told = f"place {item['place']} of the popular items"
    else:
        told = "on no list of this model's fallback"
    yield f"  {item['item_id']}{seen}: {told}"
