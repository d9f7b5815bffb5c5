// The drawer "Behind the scenes": sent events, their fate, and the reasons for recommendations.
// It only listens to the SDK's "tugboat" events, as any shop can.
import { make } from "/dom.js";
import { followed, makeWalk } from "/walk.js";

const LOG_MAX = 80;
const LOOK_AGAIN_MS = 2_000;
const LOOKS_MAX = 60;
const log = readLog();
// The shop's server may have restarted with access to the bucket.
delete log.blind;

function readLog() {
  try {
    return JSON.parse(sessionStorage.getItem("shop.log")) || { events: [], answers: [], open: null };
  } catch {
    return { events: [], answers: [], open: null };
  }
}

function writeLog() {
  log.events = log.events.slice(0, LOG_MAX);
  log.answers = log.answers.slice(0, 8);
  sessionStorage.setItem("shop.log", JSON.stringify(log));
}

function fate(event, text, kind, request_id) {
  const known = log.events.find((entry) => entry.event.event_id === event.event_id);
  if (known) Object.assign(known, { fate: text, kind, request_id });
}

const VIA = { beacon: "sent as a beacon", pixel: "accepted by the pixel" };

function note(detail) {
  switch (detail.type) {
    case "queued":
      for (const event of detail.events) log.events.unshift({ event, fate: "waiting", kind: "waiting" });
      break;
    case "sent": {
      const refused = new Map(detail.refused.map((refusal) => [refusal.index, refusal.reason]));
      detail.events.forEach((event, index) =>
        refused.has(index)
          ? fate(event, `refused: ${refused.get(index)}`, "refused", detail.request_id)
          : fate(event, VIA[detail.via] || "accepted", detail.via === "beacon" ? "left" : "accepted", detail.request_id),
      );
      break;
    }
    case "retry":
      for (const event of detail.events) {
        fate(event, `${detail.status || "no response"}: again in ${Math.ceil(detail.pause_ms / 1000)} s`, "retry");
      }
      break;
    case "dropped":
      for (const event of detail.events) fate(event, `dropped: ${detail.reason}`, "refused");
      break;
    case "recommended":
      log.answers.unshift({ asked: detail.asked, answer: detail.answer, at: Date.now() });
      break;
  }
}

// The elements of the drawer.
const toggle = make("button", { type: "button", className: "drawer-toggle", ariaExpanded: "false" });
const panel = make("aside", { className: "drawer", id: "drawer", ariaLabel: "Behind the scenes" });
toggle.setAttribute("aria-controls", "drawer");
const who = make("dl", { className: "who" });
const allow = make("button", { type: "button", textContent: "Allow" });
const refuse = make("button", { type: "button", textContent: "Refuse" });
const answers = make("ol", { className: "answers" });
const list = make("ol", { className: "events" });
const walk = makeWalk();
const close = make("button", { type: "button", className: "drawer-close", textContent: "×", ariaLabel: "Close" });
const clear = make("button", { type: "button", className: "quiet", textContent: "Clear" });
panel.append(
  make("header", {}, make("h2", { textContent: "Behind the scenes" }), close),
  make("section", {}, make("h3", { textContent: "Visitor" }), who, make("div", { className: "consent" }, allow, refuse)),
  make("section", {}, make("h3", {}, "One click, six steps ", walk.count), walk.list),
  make("section", {}, make("h3", { textContent: "Why these recommendations" }), answers),
  make("section", {}, make("h3", {}, "Events ", clear), list),
);
document.body.append(panel, toggle);

allow.addEventListener("click", () => window.tugboat.consent?.("granted"));
refuse.addEventListener("click", () => window.tugboat.consent?.("denied"));
clear.addEventListener("click", () => {
  Object.assign(log, { events: [], answers: [] });
  writeLog();
  show();
});
toggle.addEventListener("click", () => setOpen(true));
close.addEventListener("click", () => setOpen(false));
document.addEventListener("keydown", (event) => event.key === "Escape" && log.open && setOpen(false));

function setOpen(open) {
  log.open = open;
  writeLog();
  document.documentElement.classList.toggle("drawer-open", open);
  panel.inert = !open;
  toggle.ariaExpanded = String(open);
  show();
  if (open) close.focus();
  else toggle.focus();
}

function shortId(id) {
  return id ? `${id.slice(0, 8)}…` : "none stored";
}

function subject(event) {
  if (event.search_term) return `“${event.search_term}”`;
  const ids = (event.items || []).map((item) => item.item_id);
  const more = ids.length > 2 ? ` +${ids.length - 2}` : "";
  return ids.slice(0, 2).join(", ") + more || event.page_location?.replace(location.origin, "") || "";
}

function show() {
  toggle.replaceChildren("Behind the scenes ", make("b", { textContent: log.events.length }));
  toggle.classList.toggle("waiting", log.events.some((entry) => ["waiting", "retry"].includes(entry.kind)));
  if (!log.open) return;
  const visitor = window.tugboat.visitor?.();
  if (visitor) {
    const facts = {
      Consent: navigator.globalPrivacyControl ? `${visitor.consent} (Global Privacy Control)` : visitor.consent,
      Client: shortId(visitor.client_id),
      Session: shortId(visitor.session_id),
      "Last items": visitor.items.slice(-3).join(", ") || "none yet",
    };
    who.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
    allow.ariaPressed = String(visitor.consent === "granted");
    refuse.ariaPressed = String(visitor.consent === "denied");
  }
  walk.update(log, visitor);
  look();
  answers.replaceChildren(
    ...(log.answers.length ? log.answers.map(answerRow) : [make("li", { className: "muted", textContent: "No request yet. Open a product." })]),
  );
  showEvents();
}

const rows = new Map();

/** Add new rows on top. Existing rows keep their place, their open state and the focus. */
function showEvents() {
  const wanted = new Set(log.events.map(({ event }) => event.event_id));
  for (const [id, { row }] of rows) if (!wanted.has(id) && rows.delete(id)) row.remove();
  log.events.forEach((entry, at) => {
    if (!rows.has(entry.event.event_id)) rows.set(entry.event.event_id, eventRow(entry.event));
    const { row, badge } = rows.get(entry.event.event_id);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] || null);
    badge.className = `fate ${entry.kind}`;
    badge.textContent = entry.fate;
  });
}

let looking;

/** Poll the shop's server until the event of the walk is in the bucket. */
function look(tries = 0) {
  const entry = followed(log);
  if (tries === 0 && looking === entry?.event.event_id) return;
  if (!log.open || log.blind || !entry || entry.landed || !["accepted", "left"].includes(entry.kind)) return;
  looking = entry.event.event_id;
  fetch(`/landed.json?event_id=${encodeURIComponent(looking)}`)
    .then((response) => (response.ok ? response.json() : { blind: response.status === 404 }))
    .then((found) => {
      if (found.blind) log.blind = true;
      else if (found.key) entry.landed = found;
      else if (tries < LOOKS_MAX && looking === entry.event.event_id) return setTimeout(() => look(tries + 1), LOOK_AGAIN_MS);
      writeLog();
      show();
    })
    .catch(() => (looking = null));
}

function answerRow({ asked, answer, at }) {
  const ids = answer.items.map((item) => item.item_id);
  return make(
    "li",
    {},
    make("p", {}, make("b", { className: `source ${answer.source}`, textContent: answer.source }), ` ${answer.reason}`),
    make("p", { className: "muted", textContent: `model ${answer.model_version} · ${new Date(at).toLocaleTimeString()}` }),
    make("p", { className: "ids" }, `${asked.slice(-4).join(" → ") || "a new session"} ⇒ ${ids.slice(0, 4).join(", ")}${ids.length > 4 ? ` +${ids.length - 4}` : ""}`),
  );
}

function eventRow(event) {
  const badge = make("span");
  const summary = make("summary", {}, make("b", { textContent: event.event_name }), badge, make("span", { className: "subject", textContent: subject(event) }));
  return { badge, row: make("li", {}, make("details", {}, summary, make("pre", { tabIndex: 0, textContent: JSON.stringify(event, null, 1) }))) };
}

// early.js set the open state before the first paint.
for (const detail of window.notices) note(detail);
window.notices = null;
writeLog();
document.addEventListener("tugboat", ({ detail }) => {
  note(detail);
  writeLog();
  show();
});
log.open = document.documentElement.classList.contains("drawer-open");
toggle.ariaExpanded = String(log.open);
panel.inert = !log.open;
show();
