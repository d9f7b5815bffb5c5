// Events without a response yet. Each page writes its own queue, so that two tabs never overwrite each other.
// The queue is in the store, so that a killed page loses nothing: another page adopts its queue.

const MINE = "queue." + newId();
// Events of the current task. They are written together at its end.
let fresh = [];

function waiting(name = MINE) {
  const events = read(name)?.events;
  return [...(Array.isArray(events) ? events : []), ...(name === MINE ? fresh : [])];
}

/** Store the newest events within the limits. With `at` 0, another page can adopt the queue at once. */
function keep(events, at = Date.now()) {
  fresh = [];
  const oldest = Date.now() - QUEUE_MAX_AGE_MS;
  let from = Math.max(0, events.length - QUEUE_MAX_EVENTS);
  while (from < events.length && events[from].client_time_ms < oldest) from += 1;
  while (JSON.stringify(events.slice(from)).length > QUEUE_MAX_CHARACTERS) from += 10;
  if (from) announce("dropped", { events: events.slice(0, from), reason: "queue_full_or_old" });
  write(MINE, from < events.length ? { at, events: events.slice(from) } : null);
}

/** Identify one copy of an event: of two copies of an order, one can be on its way. */
function copyId(event) {
  return event.event_id + event.client_time_ms;
}

/** Join an order with its unsent copy. The one with more items counts, because an advertiser's has none. */
function joined(event) {
  if (event.event_name !== "purchase") return event;
  const known = waiting();
  const leaving = sending.map(copyId);
  const copy = known.find((other) => other.event_id === event.event_id && !leaving.includes(copyId(other)));
  if (!copy) return event;
  keep(known.filter((other) => other !== copy));
  return copy.items?.length > (event.items?.length || 0) ? { ...event, ...copy } : { ...copy, ...event };
}

function enqueue(given) {
  const event = joined(given);
  if (fresh.push(event) === 1) queueMicrotask(safe(keepFresh));
  announce("queued", { events: [event] });
}

function keepFresh() {
  const events = waiting();
  keep(events);
  if (events.length) later(events.length < BATCH_MAX_EVENTS ? BATCH_WAIT_MS : 0);
}

/** Adopt the queues of closed and killed pages. */
function adopt() {
  for (const name of queueNames()) {
    if (name === MINE) continue;
    if (Date.now() - (read(name)?.at || 0) > ORPHAN_AFTER_MS) {
      const events = waiting(name);
      write(name, null);
      keep([...events, ...waiting()]);
    } else later(ORPHAN_AFTER_MS);
  }
}

/** Return the next events for one request. */
function nextBatch(events) {
  let characters = 0;
  const end = events.findIndex((event, at) => {
    characters += JSON.stringify(event).length;
    return at === BATCH_MAX_EVENTS || (at > 0 && characters > BATCH_MAX_CHARACTERS);
  });
  return end < 0 ? events : events.slice(0, end);
}

/** Remove events from the queue: they were sent or refused. */
function settle(events) {
  const ids = events.map(copyId);
  keep(waiting().filter((event) => !ids.includes(copyId(event))));
}
