"""Generate the event contract in JavaScript and TypeScript from contracts/."""

import json
from collections.abc import Iterable
from typing import Any

import contracts
from contracts import openapi

# Fields that only the SDK sets.
STAMPED = ("schema_version", "event_name", "shop_id", "client_id", "session_id", "client_time_ms", "sequence")
TYPESCRIPT = {"amount": "number", "integer": "number", "items": "TugboatItem[]"}

DECLARATIONS = """\
// Generated from contracts/event.schema.json by `python -m storefront.sdk.build`. Change the schema, not this file.

/** Event names, as Google Analytics 4 has them. */
export type TugboatEventName =
%(names)s;

/** A product of an event. */
export interface TugboatItem {
%(item)s
}

/** Fields that a shop may set. The SDK adds ids, times and the page's address. */
export interface TugboatFields {
%(fields)s
}

export type TugboatConsent = "granted" | "denied" | "wait";

/** Ids of the shop that replace the SDK's own; null restores the SDK's. */
export interface TugboatIds {
  client_id?: string | null;
  session_id?: string | null;
  user_id?: string | null;
}

/** Settings of the page, as in the data- attributes of the script element. */
export interface TugboatSettings {
  shop?: string;
  key?: string;
  /** The address of the API, if it is not next to the script. */
  endpoint?: string;
  consent?: TugboatConsent;
  /** The visitor's country or subdivision, such as DE or DE-BY. */
  region?: string;
  gpc?: "ignore";
  pageView?: "off";
  dataLayer?: string;
  clientId?: string;
  sessionId?: string;
  userId?: string;
}

/** What a carousel shows, and where it stands. */
export type TugboatPlacement = %(placements)s;

export interface TugboatQuestion {
  /** Number of items, 1 to %(k_max)d; the default is %(k_default)d. */
  k?: number;
  /** Items of the session, oldest first; the default is the SDK's own list. */
  items?: string[];
  /** Items to exclude, such as those in the cart. */
  exclude?: string[];
  /** What the carousel shows; the default is "%(placement)s". */
  placement?: TugboatPlacement;
  /** For "rerank": the list to put in order, at most %(candidates_max)d. The answer has nothing else. */
  candidates?: string[];
  /** For "home" and "recently_viewed": views of earlier sessions, oldest first. The carousel keeps them. */
  history?: string[];
  /** For "buy_again": products bought before, oldest first. The carousel keeps them. */
  bought?: string[];
  /** For "popular": the path of a category, such as outdoor/tents. */
  category?: string;
  /** For "popular": products whose share of the views grows are first. */
  rising?: boolean;
  /** True: each item says what brought it. */
  because?: boolean;
}

export interface TugboatAnswer {
  items: {
    item_id: string;
    score: number;
    /** Only if asked. `viewed`, `related` and `bought_with` name the item that brought it. */
    because?: { kind: %(because_kinds)s | string; item_id?: string };
    /** The rule that gave it its slot. */
    pinned_by?: string;
    explored_by?: string;
  }[];
  /** The set of rules that was applied. */
  rules_revision?: string;
  /** The shop's rules that changed the answer, each with its number of items per effect. */
  rules?: ({ id: string } & { [effect: string]: string | number })[];
  source: %(sources)s | string;
  reason: string;
  model_version: string;
  /** The endpoint's variant that answered, or fallback. */
  variant: string;
  /** The recommendation_id of its impressions and clicks. */
  request_id: string;
  /** For its impressions and clicks; absent without consent. The SDK adds it to the order of a clicked item. */
  receipt?: string;
  /** The visitor's arms; report them once by recommendation_exposure, with the receipt. The carousel does. */
  experiments?: { experiment: string; arm: string }[];
}

export interface TugboatVisitor {
  consent: TugboatConsent;
  client_id: string | null;
  session_id: string | null;
  /** The session's last items, oldest first. */
  items: string[];
  /** Number of events that are not sent yet. */
  waiting: number;
}

export type TugboatCommand =
  | ["track", TugboatEventName, TugboatFields?]
  | ["consent", TugboatConsent]
  | ["identify", TugboatIds]
  | ["region", string];

export interface Tugboat {
  track(name: TugboatEventName, fields?: TugboatFields): void;
  /** Set the visitor's decision. Denied: nothing is sent, stored data is deleted, and later pages comply too. */
  consent(decision: TugboatConsent): void;
  identify(ids: TugboatIds): void;
  /** Set the visitor's country or subdivision, such as DE or DE-BY, for consent commands with regions. */
  region(code: string): void;
  /** Send waiting events now instead of within a second. Resolves when the delivery has ended, also one that was under way. */
  flush(): Promise<void>;
  /** Request items that match the session; null without a response. Never rejects. */
  recommend(question?: TugboatQuestion): Promise<TugboatAnswer | null>;
  visitor(): TugboatVisitor;
  push(...commands: TugboatCommand[]): void;
}

/** `document.addEventListener("tugboat", (event) => event.detail)`: notices about events. */
export type TugboatNotice =
  | { type: "ready" }
  | { type: "consent"; consent: TugboatConsent }
  | { type: "items"; items: string[] }
  | { type: "queued"; events: TugboatEvent[] }
  | { type: "limited"; event?: TugboatEvent; fields: string[] }
  | { type: "sent"; events: TugboatEvent[]; refused: TugboatRefusal[]; via?: "beacon" | "pixel"; request_id?: string }
  | { type: "retry"; events: TugboatEvent[]; status?: number; pause_ms: number }
  | { type: "dropped"; events: TugboatEvent[]; reason: string }
  | { type: "recommended"; asked: string[]; answer: TugboatAnswer };

export interface TugboatRefusal {
  index: number;
  reason: string;
  message: string;
}

/** An event as it is sent. */
export interface TugboatEvent extends TugboatFields {
%(stamped)s
}

declare global {
  interface Window {
    /** An array of commands until the SDK has loaded. */
    tugboat: Tugboat | TugboatCommand[];
    tugboatSettings?: TugboatSettings;
  }
}
"""


def kind_of(field: dict[str, Any]) -> str:
    """Return how the SDK treats a field: as a definition of the schema, `integer`, `items` or `currency`."""
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[1])
    if field["type"] == "string":
        return "currency"
    return "items" if field["type"] == "array" else str(field["type"])


def javascript(schema: dict[str, Any]) -> str:
    """Generate the constants that the SDK validates events with."""
    fields = {name: kind_of(field) for name, field in schema["properties"].items() if name not in STAMPED}
    items = schema["properties"]["items"]["items"]["properties"]
    constants = {
        "SCHEMA_VERSION": schema["properties"]["schema_version"]["enum"][-1],
        "EVENT_NAMES": schema["properties"]["event_name"]["enum"],
        "ALSO_NAMED": {"__proto__": None, **contracts.also_named()},
        "SESSION_EVENTS": contracts.event_kinds("extends_session_items"),
        "ORDER_EVENTS": contracts.event_kinds("carries_item_receipts"),
        "EVENT_ITEMS_MAX": schema["properties"]["items"]["maxItems"],
        "ID_MAX_CHARACTERS": contracts.id_max_characters(),
        "MAX_CHARACTERS": {
            name: kind["maxLength"] for name, kind in schema["definitions"].items() if "maxLength" in kind
        },
        "NUMBERS": number_ranges(schema),
        # Without a prototype, so that names of Object's methods are unknown fields.
        "FIELDS": {"__proto__": None, **fields},
        "ITEM_FIELDS": {"__proto__": None, **{name: kind_of(field) for name, field in items.items()}},
    }
    lines = [
        f"const {name} = {json.dumps(value, separators=(',', ':'))};" for name, value in constants.items()
    ]
    # With the flag u, characters are counted as in Python.
    lines.append(f"const ID = /{schema['definitions']['id']['pattern']}/u;")
    lines.append(f"const RECOMMEND_K_DEFAULT = {contracts.read('limits')['recommend']['k_default']};")
    lines.append(f"const QUEUE_MAX_AGE_MS = {contracts.read('limits')['collect']['page_queue_max_ms']};")
    return "\n".join(lines) + "\n" + session_items_max()


def number_ranges(schema: dict[str, Any]) -> dict[str, list[int]]:
    """Return the least and the greatest number of each numeric kind."""
    properties = schema["properties"]
    ranges: dict[str, list[int]] = {}
    for name, field in {**properties, **properties["items"]["items"]["properties"]}.items():
        limits = schema["definitions"].get(kind_of(field), field)
        if name in STAMPED or limits.get("type") not in ("integer", "number"):
            continue
        limit = [limits["minimum"], limits["maximum"]]
        if ranges.setdefault(kind_of(field), limit) != limit:
            raise SystemExit(
                f"{name} has other limits than the fields before it: give it a kind in definitions"
            )
    return ranges


def session_items_max() -> str:
    """Generate the constant that the SDK and the carousel share: each is a script of its own."""
    return f"const SESSION_ITEMS_MAX = {contracts.read('limits')['recommend']['items_max']};\n"


def declarations(schema: dict[str, Any]) -> str:
    """Generate tugboat.d.ts, the types of the SDK's API."""
    properties = schema["properties"]
    item = properties["items"]["items"]
    return DECLARATIONS % {
        **contracts.read("limits")["recommend"],
        "placement": contracts.placements()[0],
        "placements": _union(contracts.placements()),
        "sources": _union(openapi.SOURCES),
        "because_kinds": _union(openapi.BECAUSE_KINDS),
        "names": "\n".join(f'  | "{name}"' for name in properties["event_name"]["enum"]),
        "item": _members(item["properties"], item["required"]),
        "fields": _members({n: f for n, f in properties.items() if n not in STAMPED}, ()),
        "stamped": _members({n: f for n, f in properties.items() if n in STAMPED}, schema["required"]),
    }


def _union(names: Iterable[str]) -> str:
    return " | ".join(f'"{name}"' for name in names)


def _members(fields: dict[str, Any], required: tuple[str, ...] | list[str]) -> str:
    lines = []
    for name, field in fields.items():
        lines.append(f"  /** {field.get('description', '')} */")
        kind = kind_of(field)
        name_of_type = "TugboatEventName" if name == "event_name" else TYPESCRIPT.get(kind, "string")
        lines.append(f"  {name}{'' if name in required else '?'}: {name_of_type};")
    return "\n".join(lines)


def read_schema() -> dict[str, Any]:
    """Read the contract's schema."""
    return contracts.read("event.schema")
