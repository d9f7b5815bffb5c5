// Read the page's Google Analytics 4 data layer, without a change to it: gtag() calls and Tag Manager pushes.

const GA4_NAMES = { view_search_results: "search" };
// Values that gtag("set") and Tag Manager keep for later pushes.
let carried = {};
let ecommerce;
// True if this page's view is recorded, or the shop records page views itself.
let viewed = settings.pageView === "off";

/** Record the page's view before its first event, unless the page records views itself. */
function viewPage() {
  if (!viewed) track("page_view");
}

function ga4Item(item) {
  const path = [2, 3, 4, 5].map((level) => item["item_category" + level]);
  return {
    ...item,
    item_id: item.item_id ?? item.id,
    item_name: item.item_name ?? item.name,
    item_brand: item.item_brand ?? item.brand,
    item_category: [item.item_category ?? item.category, ...path].filter(Boolean).join("/"),
  };
}

function trackGa4(name, given) {
  // Drop event_id: in a data layer, several events often share an advertiser's id.
  const { event_id, items, ...fields } = { ...carried, ...given };
  if (Array.isArray(items)) {
    fields.items = items.map((item) => ga4Item(item || {}));
    fields.item_list_id ??= items[0]?.item_list_id;
  }
  track(GA4_NAMES[name] || name, fields);
}

/** Handle one entry of the data layer: arguments of gtag(), or an object of Tag Manager. */
function understand(entry) {
  if (!entry) return;
  const [command, name, given] = typeof entry[0] === "string" ? [entry[0], entry[1], entry[2]] : [];
  if (command === "event") {
    trackGa4(name, given);
  } else if (command === "consent") {
    const answer = given?.analytics_storage;
    const byDefault = name === "default";
    if (answer) setConsent(byDefault && answer === "denied" && given.wait_for_update ? "wait" : answer, byDefault);
  } else if (command === "config" || command === "set") {
    const values = typeof name === "object" ? name : command === "set" ? { [name]: given } : given;
    for (const kept of ["user_id", "currency"]) if (values?.[kept]) carried[kept] = values[kept];
    if (values?.send_page_view === false) viewed = true;
  } else if (!command) {
    if ("ecommerce" in entry) ecommerce = entry.ecommerce;
    if (entry.event) trackGa4(entry.event, { ...entry, ...(/page_view|search/.test(entry.event) ? {} : ecommerce) });
  }
}

/** Handle the entries of the data layer, and later pushes too. */
function readAlong() {
  const name = settings.dataLayer || "dataLayer";
  if (name === "off") return;
  const layer = (window[name] ??= []);
  const known = [...layer];
  const push = layer.push;
  layer.push = function (...entries) {
    const result = push.apply(this, entries);
    entries.forEach(safe(understand));
    return result;
  };
  known.forEach(safe(understand));
}
