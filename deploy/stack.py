"""Create, update and delete the CloudFormation stack, and report the reasons of a failure."""

import time
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from deploy.command import DeployError, Say

POLL_S = 2.0
TIMEOUT_S = 1800
UNCHANGED = ("didn't contain changes", "No updates are to be performed")


class StackError(DeployError):
    """The stack differs from its template. The message ends with the next step."""


@dataclass(frozen=True)
class Template:
    """A template: its body, or the URL at which CloudFormation reads it."""

    body: str | None = None
    url: str | None = None

    def argument(self) -> dict[str, str]:
        """Return the template as an argument of a CloudFormation call."""
        return {"TemplateURL": self.url} if self.url else {"TemplateBody": self.body or ""}


def describe(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """Return the stack, None if it does not exist."""
    try:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return stack


def is_deployed(cloudformation: Any, name: str) -> bool:
    """Return True if the stack exists and its creation finished."""
    stack = describe(cloudformation, name)
    return stack is not None and stack["StackStatus"] not in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE")


def protect(cloudformation: Any, name: str, enabled: bool) -> None:
    """Make CloudFormation refuse to delete the stack, or allow it again."""
    cloudformation.update_termination_protection(StackName=name, EnableTerminationProtection=enabled)


def apply(
    cloudformation: Any,
    name: str,
    template: Template,
    parameters: dict[str, str],
    say: Say,
    dry_run: bool = False,
    poll_s: float = POLL_S,
) -> bool:
    """Bring the stack to the template.

    Returns:
        False if nothing had to change.

    Raises:
        StackError: the change set or its execution failed.
    """
    existing = describe(cloudformation, name)
    status = existing["StackStatus"] if existing else ""
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        raise StackError(f"stack {name} is {status}: wait for that change to finish, then deploy again")
    if status in ("ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"):
        # A stack whose creation failed cannot be updated, and owns no resources.
        say(f"removing stack {name}, whose creation did not succeed ({status})")
        cloudformation.delete_stack(StackName=name)
        _wait_until_gone(cloudformation, name, poll_s)
        existing = None
    kind = "UPDATE" if existing else "CREATE"
    change_set = _create_change_set(cloudformation, name, kind, template, parameters, poll_s)
    if change_set is None:
        return False
    changes = change_set.get("Changes", [])
    for change in changes if dry_run else []:
        resource = change["ResourceChange"]
        say(f"  {resource['Action']:<7} {resource['ResourceType']} {resource['LogicalResourceId']}")
    if dry_run:
        cloudformation.delete_change_set(ChangeSetName=change_set["ChangeSetId"], StackName=name)
        if kind == "CREATE":
            cloudformation.delete_stack(StackName=name)
        return True
    # A failed first deployment also removes its buckets, which hold no data yet. Imported buckets hold data.
    imports = any(change["ResourceChange"]["Action"] == "Import" for change in changes)
    cloudformation.execute_change_set(
        ChangeSetName=change_set["ChangeSetId"], StackName=name, RetainExceptOnCreate=not imports
    )
    _wait_until_done(cloudformation, name, say, poll_s)
    return True


def _create_change_set(
    cloudformation: Any, name: str, kind: str, template: Template, parameters: dict[str, str], poll_s: float
) -> dict[str, Any] | None:
    change_set_name = f"deploy-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 1000:03d}"
    try:
        created = cloudformation.create_change_set(
            StackName=name,
            ChangeSetName=change_set_name,
            ChangeSetType=kind,
            **template.argument(),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": "app", "Value": "tugboat"}],
            # Buckets outlive a destroyed stack. The next stack imports them instead of failing on their names.
            ImportExistingResources=True,
        )
    except ClientError as error:
        if any(words in str(error) for words in UNCHANGED):
            return None
        raise StackError(
            f"CloudFormation refused the template of {name}: {error}. Check it with cfn-lint"
        ) from error
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        change_set: dict[str, Any] = cloudformation.describe_change_set(
            ChangeSetName=created["Id"], StackName=name
        )
        if change_set["Status"] == "CREATE_COMPLETE":
            return {**change_set, "ChangeSetId": created["Id"]}
        if change_set["Status"] == "FAILED":
            reason = change_set.get("StatusReason", "no reason given")
            cloudformation.delete_change_set(ChangeSetName=created["Id"], StackName=name)
            if any(words in reason for words in UNCHANGED):
                return None
            raise StackError(f"change set of {name} failed: {reason}. Fix statemachine/resources.yaml")
        if time.monotonic() > deadline:
            raise StackError(
                f"change set of {name} is not ready after {TIMEOUT_S} s: look at it in the console"
            )
        time.sleep(poll_s)


def _wait_until_done(cloudformation: Any, name: str, say: Say, poll_s: float) -> None:
    started = time.monotonic()
    reported = started
    while True:
        stack = describe(cloudformation, name)
        status = stack["StackStatus"] if stack else "DELETED"
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"):
            return
        if not status.endswith("_IN_PROGRESS"):
            raise StackError(
                f"stack {name} ended as {status}.\n{failure_reasons(cloudformation, name)}\n"
                "Fix the first of these, then deploy again. CloudFormation restored the previous state."
            )
        now = time.monotonic()
        if now - started > TIMEOUT_S:
            raise StackError(
                f"stack {name} is {status} after {TIMEOUT_S} s: look at its events in the console"
            )
        if now - reported > 20:
            reported = now
            say(f"  stack {name}: {status}, {now - started:.0f} s")
        time.sleep(poll_s)


def _wait_until_gone(cloudformation: Any, name: str, poll_s: float) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while (stack := describe(cloudformation, name)) is not None and stack["StackStatus"] != "DELETE_COMPLETE":
        if stack["StackStatus"] == "DELETE_FAILED" or time.monotonic() > deadline:
            raise StackError(
                f"stack {name} could not be deleted.\n{failure_reasons(cloudformation, name)}\n"
                "Fix the first of these, then run the same command again."
            )
        time.sleep(poll_s)


def delete(cloudformation: Any, name: str, poll_s: float = POLL_S) -> bool:
    """Delete the stack.

    Returns:
        False if there was none.

    Raises:
        StackError: a resource could not be deleted.
    """
    if describe(cloudformation, name) is None:
        return False
    cloudformation.delete_stack(StackName=name)
    _wait_until_gone(cloudformation, name, poll_s)
    return True


def failure_reasons(cloudformation: Any, name: str) -> str:
    """Return the failed resources of the last operation with their reasons, in the order of failure."""
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    lines = []
    for event in events:  # newest first
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in event.get(
            "ResourceStatusReason", ""
        ):
            reason = event.get("ResourceStatusReason", "no reason given")
            lines.append(f"  {event['LogicalResourceId']} ({event['ResourceType']}): {reason}")
        if event.get("ResourceStatusReason") == "User Initiated":
            break
    return (
        "\n".join(reversed(lines)) or "  CloudFormation names no failed resource: look at the stack's events."
    )
