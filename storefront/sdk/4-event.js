// Build an event of the contract from the page's fields: known fields only, each of its type.

/** Return an id without surrounding spaces, or undefined if the contract refuses it. A cut id would be another id. */
function toId(value) {
  const id = ["string", "number"].includes(typeof value) ? String(value).trim() : "";
  return ID.test(id) && id === whole(id) ? id : undefined;
}

/** Replace halves of surrogate pairs. Pages that cut their texts leave them, and UTF-8 has none. */
function whole(text) {
  return text.replace(/[\ud800-\udfff]/gu, "\ufffd");
}

/** Return a number, also of a text such as 4,245.42 or 12,50. The text 1,299 has two meanings, so it has none. */
function toNumber(value) {
  if (typeof value !== "string") return value;
  const [, units, cents] = /^(-?\d+|-?\d{1,3}(?:[.,]\d{3})+)[.,](\d\d?)$/.exec(value.trim()) || [];
  return cents ? Number(units.replace(/[.,]/g, "") + "." + cents) : Number(value.trim() || NaN);
}

/** Convert a value to a kind of the contract, or return undefined if the collector would refuse it. */
function convert(value, kind, field, lost) {
  if (kind === "items") {
    if (!Array.isArray(value)) return undefined;
    const items = value.map((item) => clean(item, ITEM_FIELDS, lost, "items.")).filter((item) => item.item_id);
    if (items.length < value.length || items.length > EVENT_ITEMS_MAX) lost.add(field);
    return items.slice(0, EVENT_ITEMS_MAX);
  }
  if (!["string", "number"].includes(typeof value)) return undefined;
  if (kind === "id") return toId(value);
  if (NUMBERS[kind]) {
    const number = kind === "integer" ? Math.round(toNumber(value)) : toNumber(value);
    return number >= NUMBERS[kind][0] && number <= NUMBERS[kind][1] ? number : undefined;
  }
  const text = whole(kind === "address" ? String(value).split(/[?#]/)[0] : String(value));
  if (kind === "currency") return /^[a-z]{3}$/i.test(text.trim()) ? text.trim().toUpperCase() : undefined;
  const limit = MAX_CHARACTERS[kind];
  if (text.length <= limit || [...text].length <= limit) return text;
  // A receipt that is cut would be forged.
  if (kind === "receipt") return undefined;
  lost.add(field);
  return [...text].slice(0, limit).join("");
}

/** Return the contract's fields, within its limits. Add the names of fields that were cut or dropped to `lost`. */
function clean(given, kinds, lost, path = "") {
  const kept = {};
  for (const name of Object.keys(given || {})) {
    const value = given[name];
    if (!kinds[name] || value === "" || value == null) continue;
    const fits = convert(value, kinds[name], path + name, lost);
    if (fits === undefined) lost.add(path + name);
    else kept[name] = fits;
  }
  return kept;
}

/** Record an event of the shop. */
function track(name, fields) {
  if (!SHOP || !EVENT_NAMES.includes(name)) return;
  if (name === "page_view") viewed = true;
  else viewPage();
  if (consent === "granted") return record(name, fields);
  if (SESSION_EVENTS.includes(name)) {
    itemsHere = appended(itemsHere, clean(fields, FIELDS, new Set()).items?.map((item) => item.item_id) || []);
    announce("items", { items: itemsHere });
  }
  // Its place among the events of other tabs is unknown.
  const stamp = { client_time_ms: Date.now(), sequence: undefined };
  if (consent === "wait" && held.length < HELD_MAX_EVENTS) held.push([name, fields, stamp]);
}

/** Record an event now, or with the stamp of an event that waited for consent. */
function record(name, fields, stamp) {
  const lost = new Set();
  const page = { page_location: location.origin + location.pathname, page_referrer: document.referrer, user_id: supplied.user_id };
  const given = { ...clean(page, FIELDS, lost), ...clean(fields, FIELDS, lost) };
  const looked = SESSION_EVENTS.includes(name) ? given.items?.map((item) => item.item_id) || [] : [];
  // An order page that is loaded again repeats the event id, so the order counts once.
  const order = name === "purchase" && `purchase-${given.transaction_id || ""}`;
  const event = {
    event_id: order && given.transaction_id && order.length <= ID_MAX_CHARACTERS ? order : newId(),
    ...given,
    schema_version: SCHEMA_VERSION,
    event_name: name,
    shop_id: SHOP,
    ...visit(looked, name, given),
    ...stamp,
  };
  fit(event, lost);
  enqueue(event);
  if (lost.size) announce("limited", { event, fields: [...lost] });
  if (looked.length) announce("items", { items: sessionItems() });
}

/** Shrink an event that the collector would refuse as too large: item texts first, then addresses, then the last items. */
function fit(event, lost) {
  const tooLarge = (field) => new Blob([JSON.stringify(event)]).size > EVENT_MAX_BYTES && lost.add(field);
  if (event.items && tooLarge("items")) {
    event.items = event.items.map(({ item_id, price, quantity, receipt }) => ({ item_id, price, quantity, receipt }));
  }
  for (const address of ["page_referrer", "page_location"]) if (event[address] && tooLarge(address)) delete event[address];
  while (event.items?.length && tooLarge("items")) event.items.pop();
}
