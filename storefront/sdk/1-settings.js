// The settings of the page: attributes of the script element that loads this file.
//
//   <script async src="https://api.example/prod/tugboat.js" data-shop="demo" data-key="..."></script>

const script = document.currentScript || document.querySelector("script[data-shop]");
const settings = script ? script.dataset : {};
// The API is next to this file, unless the page sets another address.
const ENDPOINT = new URL(settings.endpoint ? settings.endpoint.replace(/\/*$/, "/") : ".", script?.src || location.href).href;
// The key is in the address: a beacon cannot set headers, and a header would need a preflight.
const KEY = "?key=" + encodeURIComponent(settings.key || "");

const BATCH_WAIT_MS = 1_000;
const BATCH_MAX_EVENTS = 50;
// Browsers accept 64 KiB from a page that unloads, and a UTF-16 character is at most three bytes of UTF-8.
const BATCH_MAX_CHARACTERS = 20_000;
const EVENT_MAX_BYTES = 15_000;
const QUEUE_MAX_EVENTS = 500;
const QUEUE_MAX_CHARACTERS = 500_000;
const QUEUE_MAX_AGE_MS = 3 * 24 * 3_600_000;
// A queue without a change for this long belongs to a killed page.
const ORPHAN_AFTER_MS = 90_000;
const SESSION_SILENCE_MS = 30 * 60_000;
const SESSION_RECEIPTS_MAX = 20;
const HELD_MAX_EVENTS = 100;
const REQUEST_TIMEOUT_MS = 20_000;
const RECOMMEND_TIMEOUT_MS = 4_000;
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 3_600_000;
// After this many failures to reach the server, the SDK tries the pixel.
const PIXEL_AFTER_FAILURES = 3;
// Responses that a retry cannot change. Every other status except 200 is retried.
const FINAL_STATUSES = [400, 413, 422];

/** Dispatch a notice to the page as a DOM event. */
function announce(type, detail) {
  document.dispatchEvent(new CustomEvent("tugboat", { detail: { type, ...detail } }));
}

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
