// The visitor, as far as consent allows: a client id, a session of 30 minutes, the items of the session.

// Global Privacy Control overrides the page's settings, except data-gpc="ignore".
const privacyControl = navigator.globalPrivacyControl === true && settings.gpc !== "ignore";
// granted: events are sent. denied: nothing is sent or stored. wait: events stay in memory until a decision.
let consent = privacyControl || read("consent") === "denied" ? "denied" : settings.consent || "granted";
// The visitor's country or subdivision as in ISO 3166-2, such as DE or DE-BY. Empty: unknown.
let region = toRegion(settings.region);
// The defaults of Google's consent mode: their regions, and the state there.
const defaults = [];
// True once the visitor has decided. Defaults no longer count then.
let decided = false;
const STATES = ["denied", "wait", "granted"];
const supplied = {};
identify({ client_id: settings.clientId, session_id: settings.sessionId, user_id: settings.userId });
let held = [];
// The items of this page, for a visitor without consent.
let itemsHere = [];

/** Apply the visitor's decision or, with `byDefault`, the setting until one. Only a denial is stored. */
function setConsent(next, byDefault) {
  if (privacyControl || !STATES.includes(next)) return;
  if (!byDefault) decided = true;
  else if (read("consent") === "denied") return;
  consent = next;
  if (next === "granted") {
    write("consent", null);
    for (const event of held.splice(0)) record(...event);
    later(0);
  } else if (next === "denied") {
    held = [];
    if (!byDefault) {
      forget();
      write("consent", "denied");
    }
  }
  announce("consent", { consent });
}

function toRegion(code) {
  const region = String(code).trim().toUpperCase();
  return /^[A-Z]{2}(-[A-Z\d]{1,3})?$/.test(region) ? region : "";
}

/** Set the visitor's region, and apply the page's defaults again. */
function setRegion(code) {
  region = toRegion(code);
  if (defaults.length) setDefault();
}

/** Return 3 if regions name the visitor's subdivision, 2 for the country, 1 without regions, else 0. */
function closeness(regions) {
  if (!regions) return 1;
  const codes = [regions].flat().map(toRegion);
  return !region ? 0 : codes.includes(region) ? 3 : codes.includes(region.slice(0, 2)) ? 2 : 0;
}

/** Return true if the visitor could be in these regions as far as the page says. */
function mayBeIn(regions) {
  return !region || [regions].flat().some((code) => toRegion(code).startsWith(region + "-"));
}

/** Apply the default of the closest region. A default that may apply makes the state stricter, never looser. */
function setDefault() {
  if (decided) return;
  let closest = 0;
  let state;
  const possible = [];
  for (const [regions, next] of defaults) {
    const close = closeness(regions);
    if (close && close >= closest) [closest, state] = [close, next];
    if (!close && mayBeIn(regions)) possible.push(next);
  }
  state ??= possible.length ? "wait" : settings.consent || "granted";
  setConsent(STATES.find((one) => one === state || possible.includes(one)), true);
}

function forget() {
  fresh = [];
  for (const name of ["client", "session", "clock", "retry", MINE, ...queueNames()]) write(name, null);
}

/** Set ids of the shop; null restores the SDK's own. */
function identify(ids) {
  for (const name of ["client_id", "session_id", "user_id"]) {
    if (ids[name] === null) delete supplied[name];
    else if (toId(ids[name])) supplied[name] = toId(ids[name]);
    else if (ids[name]) announce("limited", { fields: [name] });
  }
}

/** Return the session. A new one begins after 30 minutes without events in all tabs, not at midnight. */
function currentSession() {
  const session = read("session");
  const silent = !session || !Array.isArray(session.items) || Date.now() - session.at > SESSION_SILENCE_MS;
  return silent ? { id: newId(), items: [] } : session;
}

/** Return the ids, time and sequence for a new event. Extend the session, and add the event's items and receipts to it. */
function visit(itemIds = [], name, fields) {
  let client = supplied.client_id || read("client");
  if (typeof client !== "string") write("client", (client = newId()));
  const session = currentSession();
  session.at = Date.now();
  // It grows in all tabs together, also when the clock is set back, and without a store too.
  session.sequence = Math.max(session.sequence + 1 || 0, session.at);
  session.items = appended(session.items, itemIds);
  session.receipts = useReceipts(new Map(session.receipts), name, fields);
  write("session", session);
  return { client_id: client, session_id: supplied.session_id || session.id, client_time_ms: session.at, sequence: session.sequence };
}

/** Store the receipt of each item's last click, and set it on items of order events. */
function useReceipts(receipts, name, fields) {
  for (const item of fields?.items || []) {
    const id = item.item_id;
    if (name === "recommendation_click") {
      receipts.delete(id);
      const receipt = item.receipt || fields.receipt;
      if (receipt) receipts.set(id, receipt);
    } else if (ORDER_EVENTS.includes(name)) item.receipt ||= receipts.get(id);
  }
  return [...receipts].slice(-SESSION_RECEIPTS_MAX);
}

/** Append items, without immediate repeats. */
function appended(items, more) {
  return [...items, ...more].filter((id, at, all) => id !== all[at - 1]).slice(-SESSION_ITEMS_MAX);
}

/** Return the session's last items, oldest first, for a recommend request. */
function sessionItems() {
  return consent === "granted" ? currentSession().items : itemsHere;
}
