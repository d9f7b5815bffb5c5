// Generated from contracts/event.schema.json by `python -m storefront.sdk.build`. Change the schema, not this file.

/** Event names, as Google Analytics 4 has them. */
export type TugboatEventName =
  | "page_view"
  | "view_item"
  | "view_item_list"
  | "select_item"
  | "search"
  | "add_to_cart"
  | "remove_from_cart"
  | "begin_checkout"
  | "purchase"
  | "refund"
  | "recommendation_impression"
  | "recommendation_click"
  | "recommendation_exposure";

/** A product of an event. */
export interface TugboatItem {
  /** The product's id in the shop's catalogue. */
  item_id: string;
  /** The product's name. */
  item_name?: string;
  /** Category path, levels separated by '/'. */
  item_category?: string;
  /** The product's brand. */
  item_brand?: string;
  /** Price of one unit, in `currency`. */
  price?: number;
  /** Number of units. */
  quantity?: number;
  /** The receipt of the recommendation that led to this item. */
  receipt?: string;
}

/** Fields that a shop may set. The SDK adds ids, times and the page's address. */
export interface TugboatFields {
  /** Unique within the shop; a repeat of it with the same day of client_time_ms is counted once. A UUID, or any stable id of the shop's own. */
  event_id?: string;
  /** The products it happened to, at most 200. */
  items?: TugboatItem[];
  /** Address of the page; its query, fragment and user info are dropped on receipt, and personal data in its path is masked. */
  page_location?: string;
  /** Address of the page before; treated in the same way. */
  page_referrer?: string;
  /** What was searched for; mail addresses, card numbers and phone numbers are masked. */
  search_term?: string;
  /** The list or carousel the items were shown in. */
  item_list_id?: string;
  /** The order. */
  transaction_id?: string;
  /** Total of the event, in `currency`. */
  value?: number;
  /** ISO 4217 code. */
  currency?: string;
  /** The shop's pseudonymous id of a signed-in customer. A mail address is replaced by a pseudonym. */
  user_id?: string;
  /** The answer of /recommend that an impression or a click belongs to. */
  recommendation_id?: string;
  /** The receipt that /recommend answered with, for those of the items that bring none of their own. */
  receipt?: string;
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
export type TugboatPlacement = "product" | "home" | "cart" | "category" | "search" | "similar" | "bought_together" | "popular" | "recently_viewed" | "buy_again" | "rerank";

export interface TugboatQuestion {
  /** Number of items, 1 to 100; the default is 10. */
  k?: number;
  /** Items of the session, oldest first; the default is the SDK's own list. */
  items?: string[];
  /** Items to exclude, such as those in the cart. */
  exclude?: string[];
  /** What the carousel shows; the default is "product". */
  placement?: TugboatPlacement;
  /** For "rerank": the list to put in order, at most 100. The answer has nothing else. */
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
    because?: { kind: "viewed" | "again" | "related" | "popular" | "bought_with" | "bought" | "pinned" | "new" | string; item_id?: string };
    /** The rule that gave it its slot. */
    pinned_by?: string;
    explored_by?: string;
  }[];
  /** The set of rules that was applied. */
  rules_revision?: string;
  /** The shop's rules that changed the answer, each with its number of items per effect. */
  rules?: ({ id: string } & { [effect: string]: string | number })[];
  source: "model" | "related" | "popular" | "rising" | "bought_together" | "viewed" | "bought" | "given" | "new" | "none" | string;
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
  /** Version of this contract. */
  schema_version: number;
  /** What happened. */
  event_name: TugboatEventName;
  /** The shop, as agreed with the operator. */
  shop_id: string;
  /** First-party pseudonymous id of the browser. Not a name. A mail address is replaced by a pseudonym. */
  client_id: string;
  /** The storefront's own session id. Kept; the warehouse draws sessions itself (30 minutes of silence). */
  session_id: string;
  /** When it happened by the client's clock, in milliseconds since 1970-01-01 UTC. */
  client_time_ms: number;
  /** Place among the events of its session_id, in all tabs together: it grows from event to event, whatever the clock does. The storefront's SDK sets it. */
  sequence?: number;
}

declare global {
  interface Window {
    /** An array of commands until the SDK has loaded. */
    tugboat: Tugboat | TugboatCommand[];
    tugboatSettings?: TugboatSettings;
  }
}
