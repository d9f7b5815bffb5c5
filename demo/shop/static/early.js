// Set the drawer's state before the first paint, so that nothing moves. On a wide screen the drawer starts open.
try {
  const open = JSON.parse(sessionStorage.getItem("shop.log"))?.open ?? innerWidth >= 1200;
  document.documentElement.classList.toggle("drawer-open", open);
} catch {}
// The SDK can load before drawer.js, so keep its notices until then.
window.notices = [];
document.addEventListener("tugboat", (event) => window.notices?.push(event.detail));
