// What the page says of itself: the attributes of the script element that loads this file.
//
//   <script async src="https://api.example/api/tugboat.js" data-shop="demo" data-key="..."></script>

const script = document.currentScript || document.querySelector("script[data-shop]");
const settings = script ? script.dataset : {};
// Next to this file, unless the page says otherwise.
const ENDPOINT = new URL(settings.endpoint ? settings.endpoint.replace(/\/*$/, "/") : ".", script?.src || location.href).href;
// In the address, not in a header: a beacon has none to give, and any would cost a preflight.
const KEY = "?key=" + encodeURIComponent(settings.key || "");

const BATCH_WAIT_MS = 1_000;
const BATCH_MAX_EVENTS = 50;
// Browsers take 64 KiB of a page that is leaving, and a character is at most three bytes of UTF-8.
const BATCH_MAX_CHARACTERS = 20_000;
const EVENT_MAX_BYTES = 15_000;
const QUEUE_MAX_EVENTS = 500;
const QUEUE_MAX_CHARACTERS = 500_000;
const QUEUE_MAX_AGE_MS = 3 * 24 * 3_600_000;
// A queue that nobody has touched for so long belongs to a page that was killed.
const ORPHAN_AFTER_MS = 90_000;
const SESSION_SILENCE_MS = 30 * 60_000;
const SESSION_ITEMS_MAX = 50;
const SESSION_RECEIPTS_MAX = 20;
const HELD_MAX_EVENTS = 100;
const REQUEST_TIMEOUT_MS = 20_000;
const RECOMMEND_TIMEOUT_MS = 4_000;
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 3_600_000;
// After so many requests that never reached the server, a picture is tried.
const PIXEL_AFTER_FAILURES = 3;
// What no second attempt makes better; every other status but 200 is tried again.
const FINAL_STATUSES = [400, 413, 422];

/** Tells the page what happened, as a DOM event that may be listened to and never must. */
function announce(type, detail) {
  document.dispatchEvent(new CustomEvent("tugboat", { detail: { type, ...detail } }));
}

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
