// Events that have not arrived yet. Each page writes a queue of its own, so that two tabs never overwrite each other;
// the truth is in the store, so that a page that is killed loses nothing: another one takes its queue over.

const MINE = "queue." + newId();
// What happened in the task that runs now; at its end it is written, all of it at once.
let fresh = [];

function waiting(name = MINE) {
  const events = read(name)?.events;
  return [...(Array.isArray(events) ? events : []), ...(name === MINE ? fresh : [])];
}

/** Keeps the newest of the events that the caps allow. `at` 0 leaves the queue to whoever comes first. */
function keep(events, at = Date.now()) {
  fresh = [];
  const oldest = Date.now() - QUEUE_MAX_AGE_MS;
  let from = Math.max(0, events.length - QUEUE_MAX_EVENTS);
  while (from < events.length && events[from].client_time_ms < oldest) from += 1;
  while (JSON.stringify(events.slice(from)).length > QUEUE_MAX_CHARACTERS) from += 10;
  if (from) announce("dropped", { events: events.slice(0, from), reason: "queue_full_or_old" });
  write(MINE, from < events.length ? { at, events: events.slice(from) } : null);
}

function enqueue(event) {
  if (fresh.push(event) === 1) queueMicrotask(safe(keepFresh));
  announce("queued", { events: [event] });
}

function keepFresh() {
  const events = waiting();
  keep(events);
  if (events.length) later(events.length < BATCH_MAX_EVENTS ? BATCH_WAIT_MS : 0);
}

/** Takes over what pages left behind that were closed or killed. */
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

/** The next events for one request. */
function nextBatch(events) {
  let characters = 0;
  const end = events.findIndex((event, at) => {
    characters += JSON.stringify(event).length;
    return at === BATCH_MAX_EVENTS || (at > 0 && characters > BATCH_MAX_CHARACTERS);
  });
  return end < 0 ? events : events.slice(0, end);
}

/** These need no sending any more. */
function settle(events) {
  const ids = events.map((event) => event.event_id);
  keep(waiting().filter((event) => !ids.includes(event.event_id)));
}
