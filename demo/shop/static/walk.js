// A click's journey in six steps, each with what is really known of this visitor's own click. What happens out of the
// browser's sight is told in a sentence, with the page of the documentation that has the rest.
import { make } from "/dom.js";

const FOLLOWED = ["view_item", "add_to_cart"];
const SCORES_SHOWN = 4;

/** The event that the walk follows: the last product looked at or put into the cart. */
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

// Each step says what it has seen, or null as long as it has seen nothing.
const STEPS = [
  {
    title: "The shop sees a click",
    doc: "events.md",
    wait: () => "Open a product: the walk follows that click.",
    told: "The SDK makes an event of it, in the words of the contract, and keeps it in localStorage until it has arrived.",
    seen: ({ entry }) => entry && { short: `${entry.event.event_name} ${ids(entry.event.items)[0] || ""}`, more: [code(entry.event)] },
  },
  {
    title: "The collector takes it",
    doc: "events.md",
    wait: () => "On its way: it leaves within a second, or when the network is back.",
    told: "POST /events holds it against the contract, drops what the purpose does not need, and says yes only once Firehose, or else S3, has it.",
    seen: ({ entry }) =>
      entry &&
      !["waiting", "retry"].includes(entry.kind) && {
        short: entry.fate,
        more: [facts({ Answer: entry.kind === "left" ? "a beacon gets none" : entry.fate, Request: entry.request_id })],
      },
  },
  {
    title: "It lies in raw/",
    doc: "architecture.md",
    wait: () => "Firehose gathers lines for a while before it writes a file.",
    told: "A file of the hour in which it was received, never changed again. Below is the line itself, with what the collector added.",
    seen: ({ entry, landed }) =>
      landed?.key ? { short: landed.key, more: [facts({ File: landed.key, Line: String(landed.line) }), code(landed.event)] } : blind(entry, landed),
  },
  {
    title: "It becomes part of a session",
    doc: "architecture.md",
    wait: ({ visitor }) => (visitor?.consent === "granted" ? "Nothing looked at yet." : "No session is kept of a visitor who has not allowed it."),
    told: "Tonight Load copies the file into Snowflake, and Transform makes a row of every event id and a session of what is less than 30 minutes apart. It will read like this.",
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
    wait: () => "No model has answered yet: make demo trains and publishes one.",
    told: "Validate lets only a sound batch through; Train learns, Evaluate refuses a worse model, Publish and Prove put it behind the endpoint. This one answers you.",
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
    told: "Your session goes to /recommend, and what comes back is on the page at once. What you choose of it is reported with the answer it belongs to.",
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
  return { partly: true, more: [make("p", { textContent: "This shop was started without a view of the bucket (make shop has one)." })] };
}

/** What the steps can know, from what the SDK has announced and the shop's server has found. */
function known(log, visitor) {
  const entry = followed(log);
  const click = log.events.find(({ event }) => event.event_name === "recommendation_click");
  const of = (id) => log.answers.find(({ answer }) => answer.request_id === id);
  const { answer, asked } = (click && of(click.event.recommendation_id)) || log.answers[0] || {};
  return { entry, click, answer, asked, visitor, landed: entry?.landed || (log.blind ? { blind: true } : null) };
}

/** The walk as an element, and what brings it up to date without moving the reader's focus. */
export function makeWalk() {
  const rows = STEPS.map((step, at) => {
    const state = make("span", { className: "step-state" });
    const body = make("div", { className: "step-more" });
    const link = make("a", { href: `/docs/${step.doc}`, target: "_blank", rel: "noopener", textContent: `docs/${step.doc}` });
    const number = make("b", { className: "step-number", ariaHidden: "true", textContent: at + 1 });
    const summary = make("summary", {}, number, make("span", { className: "step-title", textContent: step.title }), state);
    const details = make("details", {}, summary, make("p", {}, `${step.told} `, link), body);
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
      // Only what has changed is put anew: somebody may be reading it.
      if (text !== line.text) line.body.replaceChildren(...more);
      line.text = text;
    }
    count.textContent = `${steps} of ${STEPS.length} seen`;
  }
  return { count, list: make("ol", { className: "walk" }, ...rows.map(({ row }) => row)), update };
}
