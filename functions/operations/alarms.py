"""The alarms of the stage, and when each fired last."""

import json
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.operations.model import Alarm, Alarms

FIRING = "ALARM"
# Of state changes of the whole account, newest first.
HISTORY_PAGES = 5


def read_alarms(cloudwatch: Any, prefix: str) -> Alarms:
    """Return the alarms of the stage, those that fire first."""
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{prefix}-")
    described = [one for page in pages for one in page.get("MetricAlarms", [])]
    fired, problem = _fired(cloudwatch, prefix)
    alarms = [
        Alarm(
            name=str(one["AlarmName"]).removeprefix(f"{prefix}-"),
            state=str(one["StateValue"]),
            since=_utc(one.get("StateTransitionedTimestamp") or one.get("StateUpdatedTimestamp")),
            last_fired=_last_fired(one, fired),
            description=str(one.get("AlarmDescription", "")),
            reason=str(one.get("StateReason", "")),
        )
        for one in described
    ]
    return Alarms(sorted(alarms, key=lambda alarm: (alarm.state != FIRING, alarm.name)), problem)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None


def _last_fired(alarm: dict[str, Any], fired: dict[str, datetime]) -> datetime | None:
    if alarm["StateValue"] == FIRING:
        return _utc(alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp"))
    return fired.get(str(alarm["AlarmName"]))


def _fired(cloudwatch: Any, prefix: str) -> tuple[dict[str, datetime], str]:
    """Return when each alarm fired last, and why it is not known."""
    fired: dict[str, datetime] = {}
    token: dict[str, str] = {}
    try:
        for _ in range(HISTORY_PAGES):
            page = cloudwatch.describe_alarm_history(
                HistoryItemType="StateUpdate", ScanBy="TimestampDescending", MaxRecords=100, **token
            )
            for item in page["AlarmHistoryItems"]:
                if item["AlarmName"].startswith(f"{prefix}-") and _new_state(item) == FIRING:
                    fired.setdefault(item["AlarmName"], item["Timestamp"].astimezone(UTC))
            if not page.get("NextToken"):
                break
            token = {"NextToken": page["NextToken"]}
    except (ClientError, BotoCoreError) as error:
        return fired, f"CloudWatch gives no history of the alarms: {error}"
    return fired, ""


def _new_state(item: dict[str, Any]) -> str:
    try:
        return str(json.loads(item.get("HistoryData") or "{}").get("newState", {}).get("stateValue", ""))
    except ValueError:
        return ""
