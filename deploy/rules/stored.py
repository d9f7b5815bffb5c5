"""The rules of a shop in a stage: read what a replay needs, and upload a new set."""

from typing import Any

from msgspec import json

from deploy.command import DeployError
from deploy.rules import replay
from deploy.rules.sessions import sessions_of
from functions.platform.catalogue_state import CatalogueState, state_key, unpack
from functions.platform.releases import Release, read_record
from functions.platform.s3_keys import fallback_key, rules_key
from functions.platform.stored_json import MISSING, find_bytes, read_json
from functions.recommend.fallback import Fallback
from functions.recommend.rules.model import RuleSet, decode


class RulesRefused(DeployError):
    """The rules would empty a carousel, or the stage cannot be asked. The message ends with the next step."""


def served_rules(s3: Any, bucket: str, shop: str) -> RuleSet:
    """Return the rules that /recommend has. A set that it cannot read counts as none."""
    stored = find_bytes(s3, bucket, rules_key(shop), MISSING)
    try:
        return decode(stored) if stored else RuleSet(shop, "")
    except ValueError:
        return RuleSet(shop, "")


def catalogue_of(s3: Any, bucket: str, shop: str) -> CatalogueState | None:
    """Return the current products of a shop, or None if it has no catalogue."""
    stored = find_bytes(s3, bucket, state_key(shop), MISSING)
    return unpack(stored) if stored else None


def release_of(s3: Any, bucket: str, shop: str) -> Release | None:
    """Return the release that answers the shop, or None if there is none."""
    return read_record(s3, bucket, shop).current


def question(shop: str, release: Release, count: int, s3: Any, bucket: str, endpoint: Any) -> replay.Question:
    """Ask the endpoint for the candidates of the sessions, and return them with the fallback and the catalogue.

    Raises:
        BotoCoreError, ClientError: the endpoint or S3 does not answer.
    """
    found = sessions_of(release, count, s3, bucket)
    # An empty session is the first page that a visitor opens.
    sessions = [[], *found.items]
    candidates = replay.ask_all(sessions, release.endpoint, endpoint)
    stored = read_json(s3, bucket, fallback_key(shop))
    fallback = Fallback(stored["popular"], stored["related"], stored["model_version"]) if stored else None
    return replay.Question(sessions, found.source, candidates, fallback, catalogue_of(s3, bucket, shop))


def upload(rule_set: RuleSet, s3: Any, bucket: str) -> None:
    """Store a set under its revision, then as the current one."""
    body = json.encode(rule_set)
    for key in (rules_key(rule_set.shop, rule_set.revision), rules_key(rule_set.shop)):
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def refuse_empty(found: replay.Replay) -> None:
    """Check that every carousel has an item.

    Raises:
        RulesRefused: one has none. The message names sessions and the rules that removed their candidates.
    """
    if not found.empty:
        return
    lines = []
    for change in found.empty[:3]:
        session = ", ".join(change.items[-3:]) or "an empty session"
        removed = sorted(
            ((counts.get("removed", 0), rule_id) for rule_id, counts in change.after.effects.items()),
            reverse=True,
        )
        by = ", ".join(f"{rule_id} removes {count}" for count, rule_id in removed if count)
        lines.append(
            f"  {change.path}, placement {change.moment.placement}, session {session}: {by or 'no candidate'}"
        )
    raise RulesRefused(
        f"the rules of {found.rule_set.shop} empty {len(found.empty):,} of {found.carousels:,} carousels:\n"
        + "\n".join(lines)
        + "\nNarrow the first rule of each line, by `when:` or by its selector, then check again"
    )
