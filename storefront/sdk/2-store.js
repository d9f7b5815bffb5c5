// What this browser keeps between pages: JSON in localStorage, or in memory where the browser refuses that.

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

/** Keeps a value; null forgets it. */
function write(name, value) {
  inMemory.delete(name);
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    inMemory.set(name, value);
  }
}

/** The names of every page's queue, this one's too. */
function queueNames() {
  try {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(PREFIX + "queue."))
      .map((key) => key.slice(PREFIX.length));
  } catch {
    return [];
  }
}
