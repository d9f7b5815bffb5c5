"""The event contract in JavaScript and TypeScript, from contracts/event.schema.json."""

import json
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).resolve().parents[2] / "contracts" / "event.schema.json"
# What only the SDK may say of an event.
STAMPED = ("schema_version", "event_name", "shop_id", "client_id", "session_id", "client_time_ms")
TYPESCRIPT = {"amount": "number", "integer": "number", "items": "TugboatItem[]"}

DECLARATIONS = """\
// Generated from contracts/event.schema.json by `python -m storefront.sdk.build`: change the schema, not this file.

/** What can happen in a shop, in Google Analytics 4's names. */
export type TugboatEventName =
%(names)s;

/** A product that an event is about. */
export interface TugboatItem {
%(item)s
}

/** What a shop may say of an event. The SDK adds ids, times and the page's address by itself. */
export interface TugboatFields {
%(fields)s
}

export type TugboatConsent = "granted" | "denied" | "wait";

/** Ids that the shop supplies instead of the SDK's own; null gives one back. */
export interface TugboatIds {
  client_id?: string | null;
  session_id?: string | null;
  user_id?: string | null;
}

export interface TugboatQuestion {
  /** How many items, 1 to 100; 10 if not said. */
  k?: number;
  /** The items to go by, oldest first; the session's last ones if not said. */
  items?: string[];
  /** What must not come back, such as the cart. */
  exclude?: string[];
}

export interface TugboatAnswer {
  items: { item_id: string; score: number }[];
  source: "model" | "related" | "popular" | string;
  reason: string;
  model_version: string;
  /** The endpoint's variant that answered, or fallback. */
  variant: string;
  /** The recommendation_id of its impressions and clicks. */
  request_id: string;
  /** For its impressions and clicks; none without consent. Items clicked in it take it along to the order by themselves. */
  receipt?: string;
}

export interface TugboatVisitor {
  consent: TugboatConsent;
  client_id: string | null;
  session_id: string | null;
  /** The session's last items, oldest first. */
  items: string[];
  /** How many events have not left yet. */
  waiting: number;
}

export type TugboatCommand =
  | ["track", TugboatEventName, TugboatFields?]
  | ["consent", TugboatConsent]
  | ["identify", TugboatIds];

export interface Tugboat {
  track(name: TugboatEventName, fields?: TugboatFields): void;
  /** The visitor's decision. Denied: nothing leaves, what was kept is deleted, and later pages obey too. */
  consent(decision: TugboatConsent): void;
  identify(ids: TugboatIds): void;
  /** Sends now what would leave within a second. */
  flush(): Promise<void>;
  /** Items that go with the session; null when there is no answer. Never rejects. */
  recommend(question?: TugboatQuestion): Promise<TugboatAnswer | null>;
  visitor(): TugboatVisitor;
  push(...commands: TugboatCommand[]): void;
}

/** `document.addEventListener("tugboat", (event) => event.detail)`: what becomes of events, as it happens. */
export type TugboatNotice =
  | { type: "ready" }
  | { type: "consent"; consent: TugboatConsent }
  | { type: "items"; items: string[] }
  | { type: "queued"; events: TugboatEvent[] }
  | { type: "sent"; events: TugboatEvent[]; refused: TugboatRefusal[]; via?: "beacon" | "pixel"; request_id?: string }
  | { type: "retry"; events: TugboatEvent[]; status?: number; pause_ms: number }
  | { type: "dropped"; events: TugboatEvent[]; reason: string }
  | { type: "recommended"; asked: string[]; answer: TugboatAnswer };

export interface TugboatRefusal {
  index: number;
  reason: string;
  message: string;
}

/** An event as it leaves. */
export interface TugboatEvent extends TugboatFields {
%(stamped)s
}

declare global {
  interface Window {
    /** An array of commands until the SDK has loaded. */
    tugboat: Tugboat | TugboatCommand[];
  }
}
"""


def kind_of(field: dict[str, Any]) -> str:
    """What the SDK has to know of a field: a definition's name, `integer`, `items` or `currency`."""
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[1])
    if field["type"] == "string":
        return "currency"
    return "items" if field["type"] == "array" else str(field["type"])


def javascript(schema: dict[str, Any]) -> str:
    """The constants that the SDK checks events with."""
    fields = {name: kind_of(field) for name, field in schema["properties"].items() if name not in STAMPED}
    items = schema["properties"]["items"]["items"]["properties"]
    constants = {
        "SCHEMA_VERSION": schema["properties"]["schema_version"]["enum"][-1],
        "EVENT_NAMES": schema["properties"]["event_name"]["enum"],
        # Without a prototype: a field named like one of Object's methods is no field of ours.
        "FIELDS": {"__proto__": None, **fields},
        "ITEM_FIELDS": {"__proto__": None, **{name: kind_of(field) for name, field in items.items()}},
    }
    lines = [
        f"const {name} = {json.dumps(value, separators=(',', ':'))};" for name, value in constants.items()
    ]
    return "\n".join(lines) + "\n"


def declarations(schema: dict[str, Any]) -> str:
    """tugboat.d.ts: the types of the SDK's API."""
    properties = schema["properties"]
    item = properties["items"]["items"]
    return DECLARATIONS % {
        "names": "\n".join(f'  | "{name}"' for name in properties["event_name"]["enum"]),
        "item": _members(item["properties"], item["required"]),
        "fields": _members({n: f for n, f in properties.items() if n not in STAMPED}, ()),
        "stamped": _members({n: f for n, f in properties.items() if n in STAMPED}, STAMPED),
    }


def _members(fields: dict[str, Any], required: tuple[str, ...] | list[str]) -> str:
    lines = []
    for name, field in fields.items():
        lines.append(f"  /** {field.get('description', '')} */")
        kind = kind_of(field)
        name_of_type = "TugboatEventName" if name == "event_name" else TYPESCRIPT.get(kind, "string")
        lines.append(f"  {name}{'' if name in required else '?'}: {name_of_type};")
    return "\n".join(lines)


def read_schema() -> dict[str, Any]:
    """The contract as it is now."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text())
    return schema
