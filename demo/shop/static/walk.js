// The journey of a click in six steps, each with the data of this visitor's own click.
// A step outside the browser has a sentence and a link to the documentation.
import { make } from "/dom.js";

const FOLLOWED = ["view_item", "add_to_cart"];
const SCORES_SHOWN = 4;

/** Return the event that the walk follows: the last product viewed or added to the cart. */
export function followed(log) {
  return log.events.find((entry) => FOLLOWED.includes(entry.event.event_name));
}

function ids(items) {
  return (items || []).map((item) => item.item_id);
}

function code(value) {
  return make("pre", { tabIndex: 0, textContent: JSON.stringify(value, null, 1) });
}

function facts(pairs) {
  const rows = Object.entries(pairs).filter(([, value]) => value);
  return make("dl", { className: "facts" }, ...rows.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
}

// `seen` returns a step's data, or a false value until there is data.
const STEPS = [
  {
    title: "The shop sees a click",
    doc: "events.md",
    wait: () => "Open a product: the walk follows that click.",
    about: "The SDK makes an event of the contract from the click, and stores it in localStorage until the collector has answered.",
    seen: ({ entry }) => entry && { short: `${entry.event.event_name} ${ids(entry.event.items)[0] || ""}`, more: [code(entry.event)] },
  },
  {
    title: "The collector takes it",
    doc: "events.md",
    wait: () => "The SDK sends it within a second, or when the network is back.",
    about: "POST /events validates the event and drops unneeded fields. It accepts the event once Firehose or S3 has stored it.",
    seen: ({ entry }) =>
      entry &&
      !["waiting", "retry"].includes(entry.kind) && {
        short: entry.fate,
        more: [facts({ Answer: entry.kind === "left" ? "a beacon gets no response" : entry.fate, Request: entry.request_id })],
      },
  },
  {
    title: "It lies in raw/",
    doc: "architecture.md",
    wait: () => "Firehose collects lines for up to a minute before it writes a file.",
    about: "The line is in a file of the hour of its receipt, which never changes. Below is the line with the collector's fields.",
    seen: ({ entry, landed }) =>
      landed?.key ? { short: landed.key, more: [facts({ File: landed.key, Line: String(landed.line) }), code(landed.event)] } : blind(entry, landed),
  },
  {
    title: "It becomes part of a session",
    doc: "architecture.md",
    wait: ({ visitor }) => (visitor?.consent === "granted" ? "No product viewed yet." : "No session is kept without the visitor's consent."),
    about: "The next run loads the file into Snowflake. Transform makes one row per event id, and a session ends after 30 minutes without an event. The session will look like this.",
    seen: ({ visitor }) =>
      visitor?.session_id &&
      visitor.items.length > 0 && {
        short: `${visitor.items.length} item${visitor.items.length > 1 ? "s" : ""} so far`,
        more: [facts({ Session: visitor.session_id, Items: visitor.items.slice(-8).join(" → ") })],
      },
  },
  {
    title: "A model learns from sessions",
    doc: "architecture.md",
    wait: () => "No answer yet: open a product. Without a published model there is none; make demo trains and publishes one.",
    about: "Validate stops a bad batch. Train fits a model, Evaluate refuses a worse one, Publish and Prove release it. This model answers you.",
    seen: ({ answer }) =>
      answer?.model_version && {
        short: answer.model_version,
        more: [facts({ Model: answer.model_version, "Answered by": answer.source, Because: answer.reason })],
      },
  },
  {
    title: "The carousel answers the click",
    doc: "storefront.md",
    wait: () => "Choose something in the carousel.",
    about: "The carousel sends your session to /recommend and shows the response. Your choice is reported with the id of that response.",
    seen: ({ click, answer, asked }) => {
      const chosen = click && ids(click.event.items)[0];
      const scores = (answer?.items || []).slice(0, SCORES_SHOWN).map((item) => `${item.item_id} ${score(item)}`);
      const shown = facts({
        Asked: (asked || []).slice(-4).join(" → "),
        Answer: scores.join("\n"),
        Recommendation: answer?.request_id,
        Chosen: chosen && `${chosen}, place ${ids(answer?.items).indexOf(chosen) + 1 || "?"}`,
        Reported: click && `${click.event.event_name}: ${click.fate}`,
      });
      return click ? { short: `you chose ${chosen}`, more: [shown] } : answer && { partly: true, more: [shown] };
    },
  },
];

function score(item) {
  return Number.isFinite(item.score) ? item.score.toPrecision(3) : "";
}

function blind(entry, landed) {
  if (!landed?.blind) return null;
  return { partly: true, more: [make("p", { textContent: "This shop was started without a view of the bucket; make shop has one." })] };
}

/** Collect the data for the steps from the SDK's notices and the shop's server. */
function known(log, visitor) {
  const entry = followed(log);
  const click = log.events.find(({ event }) => event.event_name === "recommendation_click");
  const of = (id) => log.answers.find(({ answer }) => answer.request_id === id);
  const { answer, asked } = (click && of(click.event.recommendation_id)) || log.answers[0] || {};
  return { entry, click, answer, asked, visitor, landed: entry?.landed || (log.blind ? { blind: true } : null) };
}

/** Make the walk: its elements, and a function that updates them without moving the focus. */
export function makeWalk() {
  const rows = STEPS.map((step, at) => {
    const state = make("span", { className: "step-state" });
    const body = make("div", { className: "step-more" });
    const link = make("a", { href: `/docs/${step.doc}`, target: "_blank", rel: "noopener", textContent: `docs/${step.doc}` });
    const number = make("b", { className: "step-number", ariaHidden: "true", textContent: at + 1 });
    const summary = make("summary", {}, number, make("span", { className: "step-title", textContent: step.title }), state);
    const details = make("details", {}, summary, make("p", {}, `${step.about} `, link), body);
    return { step, state, body, row: make("li", {}, details), text: "" };
  });
  const count = make("span", { className: "walk-count" });
  function update(log, visitor) {
    const facts = known(log, visitor);
    let steps = 0;
    let next = true;
    for (const line of rows) {
      const seen = line.step.seen(facts);
      const done = Boolean(seen && !seen.partly);
      steps += done;
      line.row.dataset.state = done ? "seen" : next ? "next" : "later";
      next &&= done;
      line.state.textContent = done ? seen.short : line.step.wait(facts);
      const more = seen?.more || [];
      const text = more.map((part) => part.textContent).join();
      // Replace only changed parts, because the visitor may be reading them.
      if (text !== line.text) line.body.replaceChildren(...more);
      line.text = text;
    }
    count.textContent = `${steps} of ${STEPS.length} seen`;
  }
  return { count, list: make("ol", { className: "walk" }, ...rows.map(({ row }) => row)), update };
}
