// Before the first paint, so that an open drawer moves nothing. On a wide screen it starts open: that is what somebody came to see.
try {
  const open = JSON.parse(sessionStorage.getItem("shop.log"))?.open ?? innerWidth >= 1200;
  document.documentElement.classList.toggle("drawer-open", open);
} catch {}
// The SDK may be quicker than drawer.js: what it announces until then is kept.
window.notices = [];
document.addEventListener("tugboat", (event) => window.notices?.push(event.detail));
