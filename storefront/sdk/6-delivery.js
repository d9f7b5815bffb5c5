// Out of the browser: fetch while the page lives, a beacon when it goes, a picture when neither gets through.

let timer;
let timerAt = Infinity;
let sending = [];
let failures = 0;
let backoffUntil = 0;
// Whether the page has been left: its requests go on without it, and fail for it alone.
let gone = false;

/** Sends in so many milliseconds, or earlier if that is planned already. */
function later(ms) {
  if (Date.now() + ms >= timerAt) return;
  clearTimeout(timer);
  timerAt = Date.now() + ms;
  timer = setTimeout(flush, ms);
}

function maySend() {
  return consent === "granted" && navigator.onLine !== false;
}

/** How long no request is welcome: by this page's backoff, or by the server's Retry-After, which all tabs obey. */
function pauseMs() {
  const asked = Math.min((read("retry") || 0) - Date.now(), LONGEST_RETRY_AFTER_MS);
  return Math.max(backoffUntil - Date.now(), asked);
}

/** Sends what is waiting, batch by batch, until it is gone or one fails. */
async function flush() {
  clearTimeout(timer);
  timerAt = Infinity;
  if (sending.length || !maySend()) return;
  if (pauseMs() > 0) return later(pauseMs());
  try {
    adopt();
    while (maySend() && (sending = nextBatch(waiting())).length) {
      if (!(await send(sending))) break;
    }
  } catch {
    later(LONGEST_BACKOFF_MS);
  }
  sending = [];
}

function body(events) {
  return JSON.stringify({ sent_at_ms: Date.now(), events });
}

/** Posts events in a way that outlives the page. A string goes as text/plain, which needs no preflight. */
function post(events) {
  const signal = AbortSignal.timeout?.(REQUEST_TIMEOUT_MS);
  const options = { method: "POST", body: body(events), keepalive: true, credentials: "omit", signal };
  return fetch(ENDPOINT + "events" + KEY, options);
}

/** Whether a batch needs no sending any more; after a failure the next attempt is planned. */
async function send(events) {
  let response;
  try {
    response = await post(events);
    const answer = await response.json();
    const final = FINAL_STATUSES.includes(response.status);
    if (final || (response.ok && answer.accepted >= 0)) {
      const refused = final ? events.map((_, index) => ({ index, ...answer.error })) : answer.refused;
      failures = 0;
      settle(events);
      announce("sent", { events, refused, request_id: answer.request_id });
      return true;
    }
  } catch {
    // No network, a blocker, a page in between that is not ours: all the same.
  }
  if (gone) return false;
  failures += 1;
  if (!response && failures >= PIXEL_AFTER_FAILURES && (await sendPictures(events))) return true;
  if (!maySend()) return false;
  const backoff = Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), LONGEST_BACKOFF_MS);
  const asked = retryAfterMs(response);
  backoffUntil = Date.now() + backoff * (0.5 + Math.random() / 2);
  if (asked > 0) write("retry", Date.now() + asked);
  // All of them again, those too that were given up when the page seemed to leave.
  const ids = events.map((event) => event.event_id);
  keep([...events, ...waiting().filter((event) => !ids.includes(event.event_id))]);
  announce("retry", { events, status: response?.status, pause_ms: pauseMs() });
  later(pauseMs());
  return false;
}

/** Retry-After in milliseconds, be it seconds or a date. */
function retryAfterMs(response) {
  const asked = response?.headers.get("Retry-After");
  const ms = asked > 0 ? asked * 1_000 : Date.parse(asked) - Date.now();
  return Math.min(ms || 0, LONGEST_RETRY_AFTER_MS);
}

/** Sends events as pictures, those that fit: a query string holds one item. */
async function sendPictures(events) {
  const flat = events.filter((event) => !(event.items?.length > 1)).slice(0, 10);
  const loaded = await Promise.all(
    flat.map((event) => {
      const { items, ...fields } = JSON.parse(JSON.stringify(event));
      const image = new Image();
      image.src = ENDPOINT + "pixel.gif" + KEY + "&" + new URLSearchParams({ ...fields, ...items?.[0] });
      return image.decode().then(() => true, () => false);
    }),
  );
  const sent = flat.filter((_, at) => loaded[at]);
  settle(sent);
  if (sent.length) announce("sent", { events: sent, refused: [], via: "pixel" });
  return sent.length > 0;
}

/** The page goes, perhaps for good: no answer will be seen any more, and what cannot leave waits for the next page. */
function leave() {
  gone = true;
  if (sending.length) left(sending);
  for (let batch; maySend() && pauseMs() <= 0 && (batch = nextBatch(waiting())).length; ) {
    if (!navigator.sendBeacon?.(ENDPOINT + "events" + KEY, body(batch))) {
      post(batch).catch(() => {});
      break;
    }
    left(batch);
  }
  keep(waiting(), 0);
}

function left(events) {
  settle(events);
  announce("sent", { events, refused: [], via: "beacon" });
}
