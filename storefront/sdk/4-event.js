// Build an event of the contract from the page's fields: known fields only, each of its type.

/** Return the contract's fields, converted to its types. Values that do not convert are dropped. */
function clean(given, kinds) {
  const kept = {};
  for (const name of Object.keys(given || {})) {
    const kind = kinds[name];
    const value = given[name];
    if (kind === "items" && Array.isArray(value)) {
      kept[name] = value.map((item) => clean(item, ITEM_FIELDS)).filter((item) => item.item_id).slice(0, EVENT_ITEMS_MAX);
    } else if (kind === "amount" || kind === "integer") {
      const number = typeof value === "string" && value.trim() ? Number(value) : value;
      if (Number.isFinite(number)) kept[name] = kind === "integer" ? Math.round(number) : number;
    } else if (kind && value !== "" && ["string", "number"].includes(typeof value)) {
      const text = cut(kind === "address" ? String(value).split(/[?#]/)[0] : String(value), MAX_CHARACTERS[kind]);
      if (kind !== "currency") kept[name] = text;
      else if (/^[a-z]{3}$/i.test(text)) kept[name] = text.toUpperCase();
    }
  }
  return kept;
}

/** Cut a text to whole characters. Without a limit nothing is cut: a cut id is another id. */
function cut(text, limit) {
  return text.length > limit ? [...text].slice(0, limit).join("") : text;
}

/** Record an event of the shop. */
function track(name, fields) {
  if (!settings.shop || !EVENT_NAMES.includes(name)) return;
  if (name === "page_view") viewed = true;
  else viewPage();
  if (consent === "granted") return record(name, fields, Date.now());
  if (SESSION_EVENTS.includes(name)) {
    itemsHere = appended(itemsHere, clean(fields, FIELDS).items?.map((item) => item.item_id) || []);
    announce("items", { items: itemsHere });
  }
  if (consent === "wait" && held.length < HELD_MAX_EVENTS) held.push([name, fields, Date.now()]);
}

function record(name, fields, at) {
  const given = clean(fields, FIELDS);
  const looked = SESSION_EVENTS.includes(name) ? given.items?.map((item) => item.item_id) || [] : [];
  // An order page that is loaded again repeats the event id, so the order counts once.
  const order = name === "purchase" && `purchase-${given.transaction_id || ""}`;
  const event = {
    event_id: order && given.transaction_id && order.length <= ID_MAX_CHARACTERS ? order : newId(),
    page_location: location.origin + location.pathname,
    page_referrer: document.referrer.split(/[?#]/)[0] || undefined,
    user_id: supplied.user_id,
    ...given,
    schema_version: SCHEMA_VERSION,
    event_name: name,
    shop_id: settings.shop,
    ...visit(looked, name, given),
    client_time_ms: at,
  };
  // An event that is too large keeps only the essential fields of its items, because the collector refuses it otherwise.
  if (event.items && new Blob([JSON.stringify(event)]).size > EVENT_MAX_BYTES) {
    event.items = event.items.map(({ item_id, price, quantity, receipt }) => ({ item_id, price, quantity, receipt }));
  }
  enqueue(event);
  if (looked.length) announce("items", { items: sessionItems() });
}
