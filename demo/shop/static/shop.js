// A shop's code for Tugboat: commands that work before and after the SDK has loaded.

import { make } from "/dom.js";

window.tugboat ??= [];
const about = JSON.parse(document.body.dataset.about);
const CURRENCY = "USD";

function track(name, fields) {
  window.tugboat.push(["track", name, fields]);
}

function readCart() {
  try {
    return JSON.parse(localStorage.getItem("shop.cart")) || {};
  } catch {
    return {};
  }
}

function writeCart(cart) {
  localStorage.setItem("shop.cart", JSON.stringify(cart));
  showCount(cart);
}

function showCount(cart) {
  document.getElementById("count").textContent = Object.values(cart).reduce((sum, line) => sum + line.quantity, 0);
}

function total(lines) {
  return Math.round(lines.reduce((sum, line) => sum + line.price * line.quantity, 0) * 100) / 100;
}

function money(amount) {
  return amount.toLocaleString("en-US", { style: "currency", currency: CURRENCY });
}

// Lists, and the selection of an item in a list.
if (about.search !== undefined) track("search", { search_term: about.search });
if (about.list) {
  track("view_item_list", { item_list_id: about.list, items: about.items.map(({ item_id, price }) => ({ item_id, price })) });
}
document.addEventListener("click", (event) => {
  const chosen = event.target.closest("a[data-select]");
  if (!chosen) return;
  const list = chosen.closest("[data-list]").dataset.list;
  track("select_item", { item_list_id: list, items: [{ item_id: chosen.dataset.select }] });
});

// The product page.
if (about.item) {
  track("view_item", { items: [about.item], value: about.item.price, currency: CURRENCY });
  document.getElementById("add").addEventListener("click", () => {
    const cart = readCart();
    const id = about.item.item_id;
    cart[id] = { ...about.item, quantity: (cart[id]?.quantity || 0) + 1 };
    writeCart(cart);
    const added = { ...about.item, quantity: 1 };
    track("add_to_cart", { items: [added], value: added.price, currency: CURRENCY });
    const note = document.getElementById("added");
    note.replaceChildren("In your cart. ", make("a", { href: "/cart", textContent: "See it" }));
  });
}

// The cart, and the order.
function showCart() {
  const lines = Object.values(readCart());
  const place = document.getElementById("cart");
  document.getElementById("bought-together-carousel").setAttribute("items", lines.map((line) => line.item_id).join(","));
  if (!lines.length) {
    place.replaceChildren(make("p", { className: "nothing", textContent: "Still empty. The tents are good." }));
    return;
  }
  const rows = lines.map((line) => {
    const remove = make("button", { type: "button", className: "quiet", textContent: "Remove", ariaLabel: `Remove ${line.item_name}` });
    remove.addEventListener("click", () => {
      const cart = readCart();
      delete cart[line.item_id];
      writeCart(cart);
      track("remove_from_cart", { items: [line], value: line.price * line.quantity, currency: CURRENCY });
      showCart();
    });
    return make(
      "li",
      {},
      make("img", { src: `/pictures/${line.item_id}.svg`, alt: "", width: 96, height: 96 }),
      make("a", { href: `/p/${line.item_id}`, textContent: line.item_name }),
      make("span", { className: "muted", textContent: `${line.quantity} × ${money(line.price)}` }),
      remove,
    );
  });
  const order = make("button", { type: "button", id: "order-now", className: "button", textContent: "Place the order" });
  order.addEventListener("click", () => {
    const number = `T-${Date.now().toString(36).toUpperCase()}`;
    const fields = { items: lines, value: total(lines), currency: CURRENCY };
    track("begin_checkout", fields);
    sessionStorage.setItem("shop.order", JSON.stringify({ transaction_id: number, ...fields }));
    location.href = "/done";
  });
  const sum = make("p", { className: "total" }, "Total ", make("b", { textContent: money(total(lines)) }));
  place.replaceChildren(make("ul", {}, ...rows), make("div", { className: "pay" }, sum, order));
}

if (about.cart) showCart();
if (about.done) {
  const order = JSON.parse(sessionStorage.getItem("shop.order") || "null");
  if (order) {
    // A reload of this page counts once: the SDK derives the event id from the transaction id.
    track("purchase", order);
    document.getElementById("order").textContent = `Order ${order.transaction_id}, ${money(order.value)}`;
    writeCart({});
  }
}

showCount(readCart());
