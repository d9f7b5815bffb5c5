// Who visits, as far as they allow: consent, a client id, a session of 30 minutes, the items it looked at.

// Global Privacy Control outranks everything that the page says, unless the page says that it knows better.
const privacyControl = navigator.globalPrivacyControl === true && settings.gpc !== "ignore";
// granted: events leave. denied: nothing leaves, nothing is kept. wait: held in this page's memory until somebody decides.
let consent = privacyControl || read("consent") === "denied" ? "denied" : settings.consent || "granted";
const supplied = {};
identify({ client_id: settings.clientId, session_id: settings.sessionId, user_id: settings.userId });
let held = [];
// The items of this page, for a visitor of whom nothing is kept.
let itemsHere = [];

/** A decision of the visitor (or, with `byDefault`, what holds until there is one). A denial outlives the page. */
function setConsent(next, byDefault) {
  if (privacyControl || !["granted", "denied", "wait"].includes(next)) return;
  if (byDefault && read("consent") === "denied") return;
  consent = next;
  if (next === "granted") {
    write("consent", null);
    for (const [name, fields, at] of held.splice(0)) record(name, fields, at);
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

function forget() {
  fresh = [];
  for (const name of ["client", "session", "retry", MINE, ...queueNames()]) write(name, null);
}

/** Takes the ids that the shop supplies; null gives one back to the SDK. */
function identify(ids) {
  for (const name of ["client_id", "session_id", "user_id"]) {
    if (ids[name] === null) delete supplied[name];
    else if (/^[^\x00-\x1f\x7f]{1,64}$/.test(ids[name] ?? "")) supplied[name] = String(ids[name]);
  }
}

/** The session, begun anew after 30 minutes of silence in all tabs, whatever the date. */
function currentSession() {
  const session = read("session");
  const silent = !session || !Array.isArray(session.items) || Date.now() - session.at > SESSION_SILENCE_MS;
  return silent ? { id: newId(), items: [] } : session;
}

/** The ids of what happens now; it keeps the session alive and remembers what was looked at, and what recommendation led to it. */
function visit(itemIds = [], name, fields) {
  let client = supplied.client_id || read("client");
  if (typeof client !== "string") write("client", (client = newId()));
  const session = currentSession();
  session.at = Date.now();
  session.items = appended(session.items, itemIds);
  session.receipts = useReceipts(new Map(session.receipts), name, fields);
  write("session", session);
  return { client_id: client, session_id: supplied.session_id || session.id };
}

/** Keeps the receipts of clicked items, the last click's each, and gives them to the items on their way to an order. */
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

/** The items with more at the end, no item twice in a row. */
function appended(items, more) {
  return [...items, ...more].filter((id, at, all) => id !== all[at - 1]).slice(-SESSION_ITEMS_MAX);
}

/** The session's last items, oldest first: what a recommendation is asked with. */
function sessionItems() {
  return consent === "granted" ? currentSession().items : itemsHere;
}
