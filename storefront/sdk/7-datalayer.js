// Read the page's Google Analytics 4 data layer, without a change to it: gtag() calls and Tag Manager pushes.

// Values that gtag("set") and Tag Manager keep for later pushes.
let carried = {};
let ecommerce;
// True if this page's view is recorded, or the shop records page views itself.
let viewed = settings.pageView === "off";

/** Record the page's view before its first event, unless the page records views itself. */
function viewPage() {
  if (!viewed) track("page_view");
}

// Google's ids of Analytics, and the groups of them that the page makes. Other ids are of Ads, Floodlight and so on.
const ANALYTICS = /^(GT?|UA)-/i;
const groups = ["default"];

/** Return the parts of a list, which gtag() takes as an array or with commas. */
function list(value) {
  return String(value).split(",").map((part) => part.trim());
}

/** Return true if an event is addressed to Analytics, as all without an address are. */
function isForAnalytics(targets) {
  return !targets || list(targets).some((target) => ANALYTICS.test(target) || groups.includes(target));
}

// Google Listings & Ads for WooCommerce reports products with the ids of its feed.
const FEED_ID = /^gla_(?=\d+$)/;
// The last report of each event and its products: its time, and whether it had ids of the feed.
const reports = {};

/** Return true for a second report of one action: another plug-in had the same products, but not the feed's ids. */
function isCopy(name, items, fromFeed) {
  const key = name + items.map((item) => item.item_id);
  const other = reports[key];
  reports[key] = { fromFeed, at: Date.now() };
  return name !== "purchase" && other && other.fromFeed !== fromFeed && Date.now() - other.at < COPY_WITHIN_MS;
}

function ga4Item(item) {
  const id = item.item_id ?? item.id;
  const path = [2, 3, 4, 5].map((level) => item["item_category" + level]);
  return {
    ...item,
    item_id: typeof id === "string" ? id.replace(FEED_ID, "") : id,
    item_name: item.item_name ?? item.name,
    item_brand: item.item_brand ?? item.brand,
    item_category: [item.item_category ?? item.category, ...path].filter(Boolean).join("/"),
  };
}

function trackGa4(name, given) {
  // Drop event_id: in a data layer, several events often share an advertiser's id.
  const { event_id, items, send_to, ...fields } = { ...carried, ...given };
  if (!isForAnalytics(send_to)) return;
  if (Array.isArray(items)) {
    fields.items = items.map((item) => ga4Item(item || {}));
    fields.item_list_id ??= items[0]?.item_list_id;
    if (isCopy(name, fields.items, items.some((item) => FEED_ID.test(item?.item_id ?? item?.id)))) return;
  }
  track(ALSO_NAMED[name] || name, fields);
}

/** Handle one entry of the data layer: arguments of gtag(), or an object of Tag Manager. */
function understand(entry) {
  if (!entry) return;
  const [command, name, given] = typeof entry[0] === "string" ? [entry[0], entry[1], entry[2]] : [];
  if (command === "event") {
    trackGa4(name, given);
  } else if (command === "consent") {
    const { analytics_storage: answer, region: regions, wait_for_update: waits } = given || {};
    if (!answer) return;
    const denied = answer !== "granted";
    if (name === "default") {
      defaults.push([regions, denied ? (waits ? "wait" : "denied") : "granted"]);
      setDefault();
    } else if (closeness(regions) || (denied && mayBeIn(regions))) setConsent(denied ? "denied" : "granted");
  } else if (command === "config" || command === "set") {
    if (command === "config") {
      // An advertiser's configuration switches off its own page views, not the shop's.
      if (!ANALYTICS.test(name)) return;
      if (given?.groups) groups.push(...list(given.groups));
    }
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
