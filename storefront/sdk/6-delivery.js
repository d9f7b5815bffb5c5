// Delivery: fetch while the page is open, a beacon when it closes, the pixel if the server cannot be reached.

let timer;
let timerAt = Infinity;
let sending = [];
let delivery;
let failures = 0;
let backoffUntil = 0;
// True after pagehide. Requests then continue without the page, and their failures mean nothing.
let gone = false;

/** Send within this time, or earlier if that is scheduled already. */
function later(ms) {
  if (Date.now() + ms >= timerAt) return;
  clearTimeout(timer);
  timerAt = Date.now() + ms;
  timer = setTimeout(flush, ms);
}

function maySend() {
  return consent === "granted" && navigator.onLine !== false;
}

/** Return the time until the next request: this page's backoff, or the server's Retry-After for all tabs. */
function pauseMs() {
  const asked = Math.min((read("retry") || 0) - Date.now(), LONGEST_RETRY_AFTER_MS);
  return Math.max(backoffUntil - Date.now(), asked);
}

/** Send waiting events. A call during a delivery waits for its end, and the delivery takes the newest events along. */
function flush() {
  clearTimeout(timer);
  timerAt = Infinity;
  return (delivery ||= deliver().finally(() => (delivery = 0)));
}

/** Send batch by batch, until no event is left or one batch fails. */
async function deliver() {
  if (!maySend()) return;
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
  const [session, error] = read("clock") || [];
  return JSON.stringify({ sent_at_ms: Date.now(), clock_error_ms: session === currentSession().id ? error : undefined, events });
}

/** Store the error of this clock for the session. A slow answer shows nothing: the device can have slept in between. */
function measureClock(sentAt, receivedAt) {
  const error = Date.now() - receivedAt;
  if (consent === "granted" && Date.now() - sentAt < REQUEST_TIMEOUT_MS) write("clock", [currentSession().id, error]);
}

/** Post events in a request that continues after the page closes. A string is text/plain and needs no preflight. */
function post(events) {
  const signal = AbortSignal.timeout?.(REQUEST_TIMEOUT_MS);
  const options = { method: "POST", body: body(events), keepalive: true, credentials: "omit", signal };
  return fetch(ENDPOINT + "events" + KEY, options);
}

/** Send a batch. Return true if it is settled; after a failure, schedule the next attempt. */
async function send(events) {
  const sentAt = Date.now();
  let response;
  try {
    response = await post(events);
    const answer = await response.json();
    const final = FINAL_STATUSES.includes(response.status);
    if (final || (response.ok && answer.accepted >= 0)) {
      const refused = final ? events.map((_, index) => ({ index, ...answer.error })) : answer.refused;
      failures = 0;
      settle(events);
      measureClock(sentAt, answer.received_at_ms);
      announce("sent", { events, refused, request_id: answer.request_id });
      return true;
    }
  } catch {
    // No network, a blocker, or a response that is not the collector's: retry all of them.
  }
  if (gone) return false;
  if (response?.status === 404) warn(`there is no API at ${ENDPOINT}, so endpoint is wrong or missing.`);
  failures += 1;
  if (!response && failures >= PIXEL_AFTER_FAILURES && (await sendPictures(events))) return true;
  if (!maySend()) return false;
  const backoff = Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), LONGEST_BACKOFF_MS);
  const asked = retryAfterMs(response);
  backoffUntil = Date.now() + backoff * (0.5 + Math.random() / 2);
  if (asked > 0) write("retry", Date.now() + asked);
  // Store the whole batch again, also events that leave() removed.
  const ids = events.map(copyId);
  keep([...events, ...waiting().filter((event) => !ids.includes(copyId(event)))]);
  announce("retry", { events, status: response?.status, pause_ms: pauseMs() });
  later(pauseMs());
  return false;
}

/** Convert Retry-After, in seconds or a date, to milliseconds. */
function retryAfterMs(response) {
  const asked = response?.headers.get("Retry-After");
  const ms = asked > 0 ? asked * 1_000 : Date.parse(asked) - Date.now();
  return Math.min(ms || 0, LONGEST_RETRY_AFTER_MS);
}

/** Send events with the pixel. A query string has room for one item, so others stay in the queue. */
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

/** Send by beacon when the page closes. The page sees no response, and the rest waits for the next page. */
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
