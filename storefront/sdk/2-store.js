// The store between pages: JSON in localStorage, or in memory if the browser refuses localStorage.

const PREFIX = "tugboat.";
const inMemory = new Map();

function read(name) {
  if (inMemory.has(name)) return inMemory.get(name);
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

/** Store a value; null deletes it. */
function write(name, value) {
  inMemory.delete(name);
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    inMemory.set(name, value);
  }
}

/** List the names of all pages' queues, this page's included. */
function queueNames() {
  try {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(PREFIX + "queue."))
      .map((key) => key.slice(PREFIX.length));
  } catch {
    return [];
  }
}
