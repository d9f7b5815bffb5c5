// <tugboat-carousel heading="You may also like" cards="/cards.json?ids={ids}"></tugboat-carousel>
//
// The element requests recommendations for the session's last items and shows one card per item.
// It keeps its place from the start, and shows nothing instead of an error.
// It reports cards that are half visible for a second, and clicks.
//
// For the placements home, recently_viewed and buy_again, the browser keeps what the visitor viewed and bought. It is sent with
// these requests and stored nowhere else. Load this script on the page after an order too.

const CSS_TEXT = CAROUSEL_CSS;

/** Style a shadow root. A constructed style sheet is not an inline style, so it works under style-src 'self'. */
let style = (root) => {
  root.adoptedStyleSheets = [sheet];
};
let sheet;
try {
  sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS_TEXT);
} catch {
  // Safari before 16.4 and Firefox before 101 cannot construct one.
  style = (root) => root.append(element("style", { textContent: CSS_TEXT }));
}

const SEEN_AFTER_MS = 1_000;
const SEEN_SHARE = 0.5;
// Impressions within this time share one event.
const REPORT_AFTER_MS = 300;
// Changes of the session within this time cause one request.
const ASK_AFTER_MS = 60;
const GIVE_UP_AFTER_MS = 8_000;
const COUNT = 10;
const VISITS = "tugboat.visits";
const VISITS_MAX = 100;
const VISITS_KEPT_MS = 90 * 86_400_000;
// These show products like the page's own item, whatever the session viewed before.
const OF_OWN_ITEM = ["similar", "bought_together"];
const LINK_PROTOCOLS = ["http:", "https:"];

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Set an aria- attribute: Firefox before 119 has no properties for them. */
function labelled(made, name, value) {
  made.setAttribute("aria-" + name, value);
  return made;
}

function named(part, made) {
  made.part.add(part);
  made.classList.add(part);
  return made;
}

/** Call back once the SDK has loaded and executed the page's early commands. */
function whenLoaded(act) {
  if (window.tugboat?.track) return act();
  const listen = ({ detail }) => {
    if (detail.type !== "ready") return;
    document.removeEventListener("tugboat", listen);
    act();
  };
  document.addEventListener("tugboat", listen);
}

const distinct = (ids) => [...new Set(ids.reverse())].slice(0, VISITS_MAX).reverse();

/** Return the views of earlier sessions and the products bought, after adding those of now. Without consent, store nothing. */
function visits(bought = []) {
  const { consent, session_id: session, items } = window.tugboat.visitor();
  const none = { history: [], items: [], bought: [] };
  try {
    if (consent !== "granted") {
      if (consent === "denied") localStorage.removeItem(VISITS);
      return none;
    }
    let kept = JSON.parse(localStorage.getItem(VISITS)) || none;
    if (!(Date.now() - kept.at < VISITS_KEPT_MS)) kept = none;
    // The items of a session become history when another one has begun.
    const history = kept.session === session ? kept.history : distinct([...kept.history, ...kept.items]);
    const now = { at: Date.now(), session, history, items, bought: distinct([...kept.bought, ...bought]) };
    localStorage.setItem(VISITS, JSON.stringify(now));
    return now;
  } catch {
    return none;
  }
}

// A sent event was queued on this page before this script ran, or on an earlier one. An order counts once in any case.
document.addEventListener("tugboat", ({ detail }) => {
  const events = ["queued", "sent"].includes(detail.type) ? detail.events : [];
  const orders = events.filter((event) => event.event_name === "purchase");
  if (orders.length || ["items", "consent", "ready"].includes(detail.type)) {
    whenLoaded(() => visits(orders.flatMap((event) => (event.items || []).map((item) => item.item_id))));
  }
});
whenLoaded(visits);

class TugboatCarousel extends HTMLElement {
  static observedAttributes = [
    ...["heading", "item", "items", "exclude", "k", "placement", "because"],
    ...["candidates", "history", "bought", "category", "rising"],
  ];

  /** Look up cards: async (ids) => ({ id: { title, url, image, price } }). Items without a card are not shown. */
  lookup = async (ids) => {
    const address = this.getAttribute("cards");
    if (!address) return {};
    const response = await fetch(address.replace("{ids}", ids.map(encodeURIComponent).join(",")));
    return response.ok ? response.json() : {};
  };

  #list = named("list", element("ul", { id: "list", role: "list" }));
  #heading = named("heading", element("h2", { id: "heading" }));
  #back = this.#button("back", "‹", "Back", -1);
  #forth = this.#button("forth", "›", "Forward", 1);
  #watch = new IntersectionObserver((entries) => entries.forEach((entry) => this.#look(entry)), { threshold: SEEN_SHARE });
  #timers = new Map();
  #seen = [];
  #answer = null;
  #asked = 0;
  #askTimer;
  #lastRequest;
  // True once this element has reported the arms of its visitor.
  #exposed = false;
  // True once the session contains the page's own item.
  #viewed = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    style(root);
    const section = element("section", {}, element("header", {}, this.#heading, this.#back, this.#forth), this.#list);
    labelled(section, "labelledby", "heading");
    root.append(section);
    this.#list.addEventListener("scroll", () => this.#enable(), { passive: true });
    new ResizeObserver(() => this.#enable()).observe(this.#list);
    this.#list.addEventListener("click", (event) => this.#click(event));
    // The middle button opens a card in a new tab.
    this.#list.addEventListener("auxclick", (event) => event.button === 1 && this.#click(event));
  }

  connectedCallback() {
    this.#heading.textContent = this.getAttribute("heading") || "You may also like";
    if (!this.#answer) this.#wait();
    document.addEventListener("tugboat", this.#notice);
    document.addEventListener("visibilitychange", this.#visibility);
    this.#watchCards();
    this.refresh();
    // If the SDK is blocked, remove the skeleton.
    setTimeout(() => this.getAttribute("state") === "loading" && this.#showNothing(), GIVE_UP_AFTER_MS);
  }

  disconnectedCallback() {
    document.removeEventListener("tugboat", this.#notice);
    document.removeEventListener("visibilitychange", this.#visibility);
    this.#unwatch();
  }

  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === "item") this.#viewed = false;
    if (!this.isConnected) return;
    if (name === "heading") this.#heading.textContent = now;
    else this.refresh();
  }

  /** Request again. The element calls this after a change of the session. */
  refresh() {
    clearTimeout(this.#askTimer);
    const ask = () => this.#ask().catch(() => this.#showNothing());
    this.#askTimer = setTimeout(() => whenLoaded(ask), ASK_AFTER_MS);
  }

  #notice = (event) => {
    if (event.detail.type === "items" && !this.hasAttribute("items")) this.refresh();
  };

  #visibility = () => {
    // A page in the background is not visible, so the timers restart.
    if (document.hidden) this.#unwatch();
    else this.#watchCards();
  };

  #ids(attribute) {
    return (this.getAttribute(attribute) || "").split(/[\s,]+/).filter(Boolean);
  }

  /** Return the ids of an attribute; without it, those that this browser keeps. */
  #own(name) {
    return this.hasAttribute(name) ? this.#ids(name) : visits()[name];
  }

  async #ask() {
    const tugboat = window.tugboat;
    const own = this.getAttribute("item");
    let items = this.hasAttribute("items") ? this.#ids("items") : tugboat.visitor().items;
    const placement = this.getAttribute("placement");
    if (own && !this.hasAttribute("items") && OF_OWN_ITEM.includes(placement)) items = [own];
    else if (own && !this.hasAttribute("items")) {
      this.#viewed ||= items[items.length - 1] === own;
      // Add the page's own item before its view_item arrives, so that the first response already includes it.
      if (!this.#viewed) items = [...items, own].slice(-SESSION_ITEMS_MAX);
    }
    const question = { items, placement, because: this.hasAttribute("because") };
    if (placement === "rerank") question.candidates = this.#ids("candidates");
    if (["home", "recently_viewed"].includes(placement)) question.history = this.#own("history");
    if (placement === "buy_again") question.bought = this.#own("bought");
    if (placement === "popular") {
      question.category = this.getAttribute("category");
      question.rising = this.hasAttribute("rising");
    }
    question.k = Number(this.getAttribute("k")) || question.candidates?.length || COUNT;
    question.exclude = [...this.#ids("exclude"), ...(own ? [own] : [])];
    const request = JSON.stringify(question);
    if (request === this.#lastRequest) return;
    this.#lastRequest = request;
    const asked = ++this.#asked;
    const answer = await tugboat.recommend(question);
    // Before anything that depends on the items, so that every arm is reported alike.
    if (answer?.experiments && answer.receipt && !this.#exposed) {
      this.#exposed = true;
      this.#track("recommendation_exposure", answer);
    }
    const ids = answer?.items.map((item) => item.item_id) || [];
    const views = answer?.items.map((item) => item.because?.item_id).filter(Boolean) || [];
    const cards = ids.length ? await this.lookup([...new Set([...ids, ...views])]) : {};
    // A later request replaces this one.
    if (asked !== this.#asked) return;
    // Ids are free text, so an id such as "constructor" must not find a property of Object.
    const cardOf = (id) => cards && {}.hasOwnProperty.call(cards, id) && cards[id];
    const known = answer?.items.filter((item) => cardOf(item.item_id)) || [];
    if (known.length) this.#show(answer, known.map((item) => [item.item_id, cardOf(item.item_id), cardOf(item.because?.item_id)]));
    else this.#showNothing();
  }

  #wait() {
    this.setAttribute("state", "loading");
    labelled(this.#list, "busy", true);
    this.#list.replaceChildren(
      ...Array.from({ length: 6 }, () => labelled(element("li", {}, element("div", { className: "skeleton" })), "hidden", true)),
    );
    this.#enable();
  }

  #showNothing() {
    if (this.#answer) return;
    this.#list.replaceChildren();
    this.#list.removeAttribute("aria-busy");
    this.setAttribute("state", "empty");
    // Below the viewport the place can collapse without a visible shift.
    if (this.getBoundingClientRect().top > innerHeight) this.style.display = "none";
  }

  #show(answer, cards) {
    this.#unwatch();
    this.#report();
    this.#answer = answer;
    this.style.display = "";
    this.setAttribute("state", "shown");
    this.#list.removeAttribute("aria-busy");
    const focused = this.#list.contains(this.shadowRoot.activeElement);
    this.#list.replaceChildren(...cards.map((card) => this.#card(...card)));
    // Keep the keyboard focus in the list.
    if (focused) this.#list.querySelector("a").focus({ preventScroll: true });
    this.#list.scrollTo({ left: 0, behavior: "instant" });
    this.#enable();
    this.#watchCards();
    this.dispatchEvent(new CustomEvent("tugboat-shown", { bubbles: true, detail: { answer } }));
  }

  /** Make the card of an item. `view` is the card of the view that brought it. */
  #card(id, card, view) {
    const text = element("span", { className: "text" }, named("title", element("span", { textContent: card.title })));
    const because = this.getAttribute("because");
    if (because && view?.title) {
      text.append(named("because", element("span", { textContent: because.replace("{title}", () => view.title) })));
    }
    if (card.price) text.append(named("price", element("span", { textContent: card.price })));
    // The alt text is empty because the title is next to the image.
    const image = named("image", element("img", { alt: "", decoding: "async", width: 300, height: 300, src: card.image || "data:," }));
    const link = named("card", element("a", card.url ? { href: card.url } : {}, image, text));
    // The browser has parsed the address, so this is the protocol that a click would follow.
    if (!LINK_PROTOCOLS.includes(link.protocol)) link.removeAttribute("href");
    link.dataset.id = id;
    return element("li", {}, link);
  }

  #button(part, text, label, direction) {
    const button = named(part, element("button", { type: "button", textContent: text }));
    button.part.add("button");
    labelled(labelled(button, "label", label), "controls", "list");
    button.addEventListener("click", () => this.#list.scrollBy({ left: direction * this.#list.clientWidth * 0.9 }));
    return button;
  }

  #enable() {
    const { scrollLeft, clientWidth, scrollWidth } = this.#list;
    // aria-disabled, because `disabled` would drop the focus from a button in use.
    labelled(this.#back, "disabled", scrollLeft <= 4);
    labelled(this.#forth, "disabled", scrollLeft + clientWidth >= scrollWidth - 4);
  }

  #watchCards() {
    for (const link of this.#list.querySelectorAll("a:not([data-seen])")) this.#watch.observe(link);
  }

  #unwatch() {
    this.#watch.disconnect();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #look({ target, isIntersecting, intersectionRatio }) {
    clearTimeout(this.#timers.get(target));
    this.#timers.delete(target);
    if (!isIntersecting || intersectionRatio < SEEN_SHARE || document.hidden) return;
    const seen = () => {
      this.#watch.unobserve(target);
      this.#timers.delete(target);
      target.dataset.seen = "";
      if (!this.#seen.length) setTimeout(() => this.#report(), REPORT_AFTER_MS);
      this.#seen.push(target.dataset.id);
    };
    this.#timers.set(target, setTimeout(seen, SEEN_AFTER_MS));
  }

  #report() {
    if (this.#seen.length) this.#track("recommendation_impression", this.#answer, this.#seen.splice(0));
  }

  #click(event) {
    const link = event.target.closest("a[href]");
    if (!link) return;
    this.#report();
    this.#track("recommendation_click", this.#answer, [link.dataset.id]);
  }

  #track(name, answer, ids = []) {
    window.tugboat.track(name, {
      recommendation_id: answer.request_id,
      receipt: answer.receipt,
      item_list_id: this.id || "tugboat-carousel",
      items: ids.map((id) => ({ item_id: id })),
    });
  }
}

if (!customElements.get("tugboat-carousel")) customElements.define("tugboat-carousel", TugboatCarousel);
