"""Which actions of the deployed policies a stage needed: each is removed in turn, and a recorded call must then be refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from local.aws.authorization.policies import Call, Decision, decide, parse
from local.aws.authorization.record import FILE

Document = dict[str, Any]


class Grant(NamedTuple):
    """One action of one statement of a role's policy."""

    role: str
    statement: str
    action: str


def not_needed(iam: Any, logs: Path, prefix: str) -> set[Grant]:
    """Return the grants of all roles with this prefix that can be removed without a refusal of a recorded call."""
    done = recorded_calls(logs / FILE)
    found = set()
    for role, documents in deployed_policies(iam, prefix).items():
        for grant, mutated in _mutations(role, documents):
            policies = [parse(json.dumps(document)) for document in mutated]
            calls = [call for call in done.get(role, []) if call.action == grant.action]
            if all(decide(policies, call) is Decision.ALLOWED for call in calls):
                found.add(grant)
    return found


def deployed_policies(iam: Any, prefix: str) -> dict[str, list[Document]]:
    """Return the inline policies of all roles with this prefix, by the name of the role."""
    names = [
        role["RoleName"]
        for page in iam.get_paginator("list_roles").paginate()
        for role in page["Roles"]
        if role["RoleName"].startswith(prefix)
    ]
    return {
        name: [
            _document(iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"])
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
        ]
        for name in names
    }


def recorded_calls(record: Path) -> dict[str, list[Call]]:
    """Return the allowed calls in the record of the local AWS, by the name of the role."""
    found: dict[str, list[Call]] = {}
    for line in record.read_text().splitlines():
        entry = json.loads(line)
        if entry["decision"] == Decision.ALLOWED.value:
            call = Call(entry["action"], entry["resource"], entry["context"])
            found.setdefault(entry["role"].rpartition("/")[2], []).append(call)
    return found


def refusals(record: Path) -> set[tuple[str, str]]:
    """Return role and action of every recorded refusal."""
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    return {
        (entry["role"].rpartition("/")[2], entry["action"])
        for entry in entries
        if entry["decision"] != Decision.ALLOWED.value
    }


def _mutations(role: str, documents: list[Document]) -> Iterator[tuple[Grant, list[Document]]]:
    """Yield each grant of a role with all its policies without this grant."""
    for number, document in enumerate(documents):
        for position, statement in enumerate(document["Statement"]):
            actions = _listed(statement["Action"])
            for action in actions:
                kept = [one for one in actions if one != action]
                changed = [{**statement, "Action": kept}] if kept else []
                statements = [
                    *document["Statement"][:position],
                    *changed,
                    *document["Statement"][position + 1 :],
                ]
                mutated = [
                    *documents[:number],
                    {**document, "Statement": statements},
                    *documents[number + 1 :],
                ]
                yield Grant(role, statement.get("Sid", str(position)), action), mutated


def _document(found: Any) -> Document:
    """Return a document with a list of statements; IAM accepts one statement without a list."""
    document: Document = json.loads(found) if isinstance(found, str) else found
    return {**document, "Statement": _listed(document["Statement"])}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
