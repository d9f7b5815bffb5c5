// What the page may call. Nothing here throws, and nothing is answered with a rejection.

/** The function, made harmless. */
function safe(action) {
  return (...given) => {
    try {
      return action(...given);
    } catch {
      // The shop's page matters more than an event of it.
    }
  };
}

/** Asks for items that go with the session's last ones; null when there is no answer in time. */
async function recommend(question) {
  try {
    const { k = 10, items = sessionItems(), exclude = [] } = question || {};
    const asked = { items, k, exclude };
    // The receipt of the answer names the session; who allows none is asked about nobody.
    if (consent === "granted" && settings.shop) Object.assign(asked, { shop: settings.shop, session: visit().session_id });
    const simple = ![...items, ...exclude].some((id) => String(id).includes(","));
    const query = simple ? "?" + new URLSearchParams(asked) : "";
    const response = await fetch(ENDPOINT + "recommend" + query, {
      credentials: "omit",
      signal: AbortSignal.timeout?.(RECOMMEND_TIMEOUT_MS),
      ...(simple ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) }),
    });
    const answer = response.ok ? await response.json() : null;
    if (!Array.isArray(answer?.items)) return null;
    announce("recommended", { asked: items, answer });
    return answer;
  } catch {
    return null;
  }
}

/** What the SDK knows of the visitor; ids only where they may be kept. */
function visitor() {
  const known = consent === "granted";
  return {
    consent,
    client_id: known ? supplied.client_id || read("client") : null,
    session_id: known ? supplied.session_id || currentSession().id : null,
    items: sessionItems(),
    waiting: waiting().length,
  };
}

function start() {
  const api = {
    track: safe(track),
    consent: safe((decision) => setConsent(decision)),
    identify: safe(identify),
    flush: safe(flush),
    recommend,
    visitor: safe(visitor),
    // Commands as arrays, so that a page need not wait for this file: tugboat.push(["track", "search", {...}])
    push: (...commands) => commands.forEach(safe(([name, ...given]) => api[name](...given))),
  };
  const early = window.tugboat;
  if (early?.track) return;
  window.tugboat = api;
  if (privacyControl) forget();
  safe(readAlong)();
  if (Array.isArray(early)) {
    api.push(...early);
    // For who has kept the array under a name of their own.
    early.push = api.push;
  }
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", safe(viewPage));
  else viewPage();
  addEventListener("pagehide", safe(leave));
  addEventListener("pageshow", () => {
    if (gone) later(0);
    gone = false;
  });
  document.addEventListener("visibilitychange", () => document.hidden && later(0));
  addEventListener("online", () => {
    // Still alive: nobody takes this queue over.
    safe(keep)(waiting());
    backoffUntil = 0;
    later(200);
  });
  addEventListener("storage", (event) => {
    // Another tab's visitor said no.
    if (event.key === PREFIX + "consent" && event.newValue) safe(setConsent)("denied");
  });
  // What earlier pages left behind.
  later(BATCH_WAIT_MS);
  announce("ready", {});
}

// A page that is only rendered ahead was not seen by anybody.
if (document.prerendering) document.addEventListener("prerenderingchange", safe(start), { once: true });
else safe(start)();
