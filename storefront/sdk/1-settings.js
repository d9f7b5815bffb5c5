// The settings of the page. Where several of these name one, the first counts.
//
//   <script async src="https://api.example/prod/tugboat.js" data-shop="demo" data-key="..."></script>
//   window.tugboatSettings = { shop: "demo", key: "...", endpoint: "https://api.example/prod/" }
//   <script async src="https://api.example/prod/tugboat.js?shop=demo&key=..."></script>

const running = document.currentScript;
// In a bundle the running script is the bundle, and in a module there is none.
const marked = document.querySelector("script[data-shop][data-key]");
const NAMED = /tugboat[^/]*$/;
const source = [running, marked].find((script) => NAMED.test(script?.src.split(/[?#]/)[0]))?.src || running?.src || "";
const settings = {
  ...Object.fromEntries(new URLSearchParams(source.split(/[?#]/)[1])),
  ...marked?.dataset,
  ...window.tugboatSettings,
  ...running?.dataset,
};
// The API is next to this file, unless the page sets another address.
const base = /^http/.test(source) ? source : location.href;
const ENDPOINT = new URL(settings.endpoint ? String(settings.endpoint).replace(/\/*$/, "/") : ".", base).href;
const SHOP = toId(settings.shop);
// The key is in the address: a beacon cannot set headers, and a header would need a preflight.
const KEY = "?key=" + encodeURIComponent(settings.key || "");

const BATCH_WAIT_MS = 1_000;
const BATCH_MAX_EVENTS = 50;
// Browsers accept 64 KiB from a page that unloads, and a UTF-16 character is at most three bytes of UTF-8.
const BATCH_MAX_CHARACTERS = 20_000;
const EVENT_MAX_BYTES = 15_000;
const QUEUE_MAX_EVENTS = 500;
const QUEUE_MAX_CHARACTERS = 500_000;
// A queue without a change for this long belongs to a killed page.
const ORPHAN_AFTER_MS = 90_000;
const SESSION_SILENCE_MS = 30 * 60_000;
const SESSION_RECEIPTS_MAX = 20;
const HELD_MAX_EVENTS = 100;
// Two plug-ins report one action within this time.
const COPY_WITHIN_MS = 2_000;
const REQUEST_TIMEOUT_MS = 20_000;
const RECOMMEND_TIMEOUT_MS = 4_000;
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 3_600_000;
// A gateway takes 10,240 characters of address, and some proxies half of that or less.
const POST_ABOVE_CHARACTERS = 2_000;
// After this many failures to reach the server, the SDK tries the pixel.
const PIXEL_AFTER_FAILURES = 3;
// Responses that a retry cannot change. Every other status except 200 is retried.
const FINAL_STATUSES = [400, 413, 422];

/** Dispatch a notice to the page as a DOM event. */
function announce(type, detail) {
  document.dispatchEvent(new CustomEvent("tugboat", { detail: { type, ...detail } }));
}

let warned;
/** Warn the page's developer in the console, once per page. */
function warn(problem) {
  if (!warned) console.warn((warned = `Tugboat: ${problem} Set it as a data- attribute, in window.tugboatSettings or in the script's query.`));
}

/** Warn if events cannot be sent: a tag manager can strip attributes, and a bundle has another address. */
function checkSettings() {
  const missing = [!SHOP && "shop", !settings.key && "key"].filter(Boolean);
  if (!settings.endpoint && !NAMED.test(source.split(/[?#]/)[0])) missing.push("endpoint");
  if (missing.length) warn(`no event arrives without ${missing.join(", ")}.`);
}

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
