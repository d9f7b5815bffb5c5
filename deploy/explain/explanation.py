"""Put a trace together: the recommendation, its session, its model, and the answer asked reproduction."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from deploy.explain.model import Clients, Origin, ask, origin_of, read_fallback, release_at, unpacked
from deploy.explain.trace import Json, Shown, StoredEvent, Trace, file_states
from functions.platform.contract import PLACEMENT_ANSWERS, RECOMMEND_K_DEFAULT, RECOMMEND_K_MAX
from functions.platform.s3_keys import rules_key
from functions.platform.stored_json import read_json
from functions.recommend.fallback import Fallback
from functions.recommend.recommendation import NO_MODEL

# Items beyond the last one shown, to find those that the page may have excluded.
SPARE = 20
CANDIDATES_MAX = 3


@dataclass
class Reproduction:
    """The answer asked reproduction. `status` is same, excluded, differs, nothing shown or not asked."""

    status: str
    asked: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    explanation: Json | None = None
    fallback: list[Json] | None = None


@dataclass
class Explanation:
    """Everything that make explain shows."""

    stage: str
    trace: Trace
    files: dict[str, str]
    origin: Origin | None
    reproduction: Reproduction
    notes: list[str]

    def to_json(self) -> Json:
        """Return the explanation as JSON. It names no client and no user."""
        trace = self.trace
        return {
            "stage": self.stage,
            "recommendation": {
                "recommendation_id": trace.recommendation_id,
                "found_in": trace.found_in,
                "shop_id": trace.shop_id,
                "session_id": trace.session_id,
                "issued_at": when(trace.issued_at_ms),
                "model_version": trace.model_version,
                "variant": trace.variant,
                "outcome": trace.outcome,
                "verdicts": trace.verdicts,
                "shown": [asdict(one) for one in trace.shown],
            },
            "session": [self._event(event) for event in trace.before],
            "after": [self._event(event) for event in trace.naming],
            "model": asdict(self.origin) if self.origin else None,
            "reproduction": asdict(self.reproduction),
            "notes": self.notes,
        }

    def _event(self, event: StoredEvent) -> Json:
        return {
            "time": when(event.time_ms),
            "event_name": event.payload["event_name"],
            "item_ids": event.item_ids,
            "key": event.key,
            "line": event.line,
            "file": self.files.get(event.key, "unknown"),
        }


def explain(
    stage: str, trace: Trace, clients: Clients, buckets: tuple[str, str], machine_arn: str
) -> Explanation:
    """Return the explanation of a recommendation.

    Args:
        stage: the stage's name.
        trace: the recommendation and its events.
        clients: the clients for the model and its run.
        buckets: the names of the events bucket and of the models bucket.
        machine_arn: the ARN of the stage's state machine.
    """
    events_bucket, models_bucket = buckets
    notes = [*_notes_of(trace), *_note_of_rules(trace, clients, models_bucket)]
    version = trace.model_version
    if version is None:
        version = release_at(clients, models_bucket, trace.shop_id, trace.issued_at_ms)
        notes.append(
            "No event has a receipt of this recommendation, so the model that answered is not on record. "
            + (
                f"Shown is {version}, the release that was current then"
                if version
                else "The release of that time is no longer on record either"
            )
            + ". Pages that send shop and session with /recommend get receipts"
        )
    files = file_states(clients.s3, events_bucket, [*trace.session, *trace.naming])
    if "deleted" in files.values():
        notes.append(
            "Raw files marked as deleted have expired (raw_expire_days in deploy/stages.toml) or were erased; "
            "their events are still in RAW.EVENTS"
        )
    if version is None:
        return Explanation(
            stage, trace, files, None, Reproduction("not asked", reasons=["the model is unknown"]), notes
        )
    if PLACEMENT_ANSWERS.get(trace.placement, "next") != "next":
        why = (
            f"the placement {trace.placement} has a list of its own, and only what comes next is asked again"
        )
        origin = (
            None
            if version == NO_MODEL
            else origin_of(clients, models_bucket, trace.shop_id, machine_arn, version)
        )
        return Explanation(stage, trace, files, origin, Reproduction("not asked", reasons=[why]), notes)
    origin = origin_of(clients, models_bucket, trace.shop_id, machine_arn, version)
    reproduction = Reproduction("not asked", reasons=["the model's archive is gone"])
    if origin.archive_uri:
        with unpacked(clients.s3, origin.archive_uri) as archive:
            reproduction = (
                _reproduce_fallback(trace, archive)
                if trace.is_fallback or trace.arm_answers
                else _reproduce(trace, archive)
            )
    return Explanation(stage, trace, files, origin, reproduction, notes)


def _note_of_rules(trace: Trace, clients: Clients, bucket: str) -> Iterable[str]:
    """Yield the rules that the answer was made with."""
    if not trace.rules:
        return
    key = rules_key(trace.shop_id, trace.rules)
    stored = read_json(clients.s3, bucket, key)
    ids = ", ".join(rule["id"] for rule in stored["rules"]) if stored else "that are no longer stored"
    yield (
        f"The shop's rules changed the answer: {ids}. They are s3://{bucket}/{key} (docs/rules.md). The items below are those "
        "of the model before the rules"
    )


def _notes_of(trace: Trace) -> Iterable[str]:
    if trace.is_fallback:
        yield (
            "The fallback answered, because the endpoint did not in time. The API's log has the cause: search "
            f"/aws/lambda of the API for {trace.recommendation_id} and the message 'the endpoint failed'"
        )
    if trace.arm_answers:
        yield (
            f"The client is in an arm of an experiment that is answered by {trace.arm_answers} instead of the model "
            "(docs/ab_tests.md)"
        )
    if not trace.naming:
        yield (
            "MARTS.RECOMMENDATIONS has this recommendation, and RAW.EVENTS has none of its events: they were erased, "
            "or loaded later than --days. A greater --days searches further"
        )
    elif not trace.session_id:
        yield "Its receipt came back in another session only, so its own session is unknown"
    if trace.outcome is None and trace.naming:
        yield (
            "MARTS.RECOMMENDATIONS does not count it: it has no valid receipt, belongs to a bot, or was not "
            "transformed yet. make run transforms what is loaded"
        )


def _reproduce(trace: Trace, archive: Path) -> Reproduction:
    """Ask the archive again with the session's items, and compare."""
    shown = trace.shown
    wanted = [one.item_id for one in shown]
    last = max((one.slot for one in shown if one.slot is not None), default=RECOMMEND_K_DEFAULT - 1)
    k = min(last + 1 + SPARE, RECOMMEND_K_MAX)

    def asked(items: list[str], exclude: Sequence[str] = ()) -> Reproduction | None:
        document = ask(archive, {"items": items, "k": k, "exclude": list(exclude), "wanted": wanted})
        if document is None:
            return None
        answer = [one["item_id"] for one in document["answer"]]
        document["items"] = [
            one
            for one in document["items"]
            if one["item_id"] in wanted or one["item_id"] in answer[: last + 1]
        ]
        status = compare(shown, answer)
        return Reproduction(status, items, list(exclude), answer[: last + 1], explanation=document)

    first: Reproduction | None = None
    questions = trace.questions()[:CANDIDATES_MAX]
    for items in questions:
        found = asked(items)
        if found is None:
            reason = (
                "the archive's code is older than explanations, so only newer models explain their items. "
                "Run the pipeline (make run), then explain an answer of the new model"
            )
            return Reproduction("not asked", items, reasons=[reason])
        if found.status in ("same", "nothing shown"):
            return found
        first = first or found
    assert first is not None
    skipped = _skipped(shown, _all_items(first))
    without = None
    # The fewest first: without one item the ranker can order the others anew, and then more of them seem to be excluded.
    for count in (count for count in sorted({1, 2, 3, len(skipped)}) if 0 < count <= len(skipped)):
        without = asked(first.asked, skipped[:count])
        if without is not None and without.status == "same":
            break
    return _differs(trace, first, without)


def _all_items(reproduction: Reproduction) -> list[str]:
    assert reproduction.explanation is not None
    return [one["item_id"] for one in reproduction.explanation["answer"]]


def _differs(trace: Trace, first: Reproduction, without: Reproduction | None) -> Reproduction:
    """Return the answer that fits best, with the reasons for the difference."""
    if without is not None and without.excluded and without.status == "same":
        without.status = "excluded"
        without.reasons = [
            f"with {', '.join(without.excluded)} excluded the answer is the same. Exclusions of a page are not stored"
        ]
        return without
    first.reasons = [
        f"the page may have asked with other items than the {len(first.asked)} that the session's stored events give: "
        "items of its own, events that were lost or refused, or a visitor who gave consent later",
        "the page may have excluded items; exclusions are not stored",
        "a click within the second of the answer can be on either side of it",
    ]
    if trace.rules:
        first.reasons.insert(0, f"the shop's rules of revision {trace.rules} changed the model's answer")
    if not first.asked:
        first.reasons.insert(0, "no stored event of the session before the answer has an item")
    if trace.found_in != "the warehouse":
        first.reasons.append("more events of the session may land within the next minutes: run it again")
    return first


def compare(shown: Sequence[Shown], answer: Sequence[str]) -> str:
    """Return same, differs, or nothing shown. Items without a slot must be in the answer, at any place."""
    if not shown:
        return "nothing shown"
    return "same" if all(_stands(one, answer) for one in shown) else "differs"


def _stands(one: Shown, answer: Sequence[str]) -> bool:
    if one.slot is None:
        return one.item_id in answer
    return one.slot < len(answer) and answer[one.slot] == one.item_id


def _skipped(shown: Sequence[Shown], answer: Sequence[str]) -> list[str]:
    """Return the items that the page must have excluded if that alone explains the places; else none.

    Without the excluded items the ranker can order the others anew, so a shown item can stand at another place.
    """
    skipped: list[str] = []
    kept = 0
    seen = {one.item_id for one in shown}
    by_slot = {one.slot: one.item_id for one in shown if one.slot is not None}
    for item in answer:
        if kept > max(by_slot, default=-1):
            break
        expected = by_slot.get(kept)
        if expected is not None and item != expected and item not in seen:
            skipped.append(item)
        else:
            kept += 1
    return skipped if kept > max(by_slot, default=0) else []


def _reproduce_fallback(trace: Trace, archive: Path) -> Reproduction:
    """Pick from the archive's fallback again, with the code of this checkout, and compare."""
    stored = read_fallback(archive)
    fallback = Fallback(stored["popular"], stored["related"], stored["model_version"])
    shown = trace.shown
    k = max((one.slot + 1 for one in shown if one.slot is not None), default=RECOMMEND_K_DEFAULT)
    found: list[Reproduction] = []
    for items in trace.questions():
        known = [] if trace.arm_answers == "popular" else items
        answer = fallback.pick(known, k, set(items[-1:]))[0] if trace.arm_answers != "none" else []
        reproduction = Reproduction(compare(shown, answer), items, answer=answer)
        reproduction.fallback = [
            _fallback_item(item, items, fallback)
            for item in dict.fromkeys([*answer, *(one.item_id for one in shown)])
        ]
        found.append(reproduction)
    best = next((one for one in found if one.status == "same"), found[0])
    if best.status == "differs":
        best.reasons = [
            "the page may have asked with other items, or excluded some; neither is stored",
            "an execution environment keeps the fallback of the model before for up to five minutes",
        ]
    return best


def _fallback_item(item: str, session: Sequence[str], fallback: Fallback) -> Json:
    """Return the list of the fallback that has an item, and its place there."""
    of = next((one for one in reversed(session) if one in fallback.related), None)
    if of is not None and item in fallback.related[of]:
        return {
            "item_id": item,
            "from": "related",
            "brought_by": of,
            "place": fallback.related[of].index(item) + 1,
        }
    if item in fallback.popular:
        place = fallback.popular.index(item) + 1
        return {"item_id": item, "from": "popular", "brought_by": None, "place": place}
    return {"item_id": item, "from": None, "brought_by": None, "place": None}


def when(milliseconds: int) -> str:
    """Return a time as text, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(" ", "milliseconds")


VERDICTS: dict[str, str] = {
    "same": "yes: the archive gives the same items at the same places",
    "excluded": "yes, if the page excluded what its request may have named",
    "differs": "no: the archive gives other items for the stored events",
    "nothing shown": "unknown: no event says which items were shown",
    "not asked": "not asked",
}


def sentence(status: str) -> str:
    """Return the answer to 'the same items again?'."""
    return VERDICTS[status]
