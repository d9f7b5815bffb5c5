// The API of the page. Nothing here throws, and no promise is rejected.

/** Wrap a function so that it never throws. */
function safe(action) {
  return (...given) => {
    try {
      return action(...given);
    } catch {
      // A failure of the SDK must not break the shop's page.
    }
  };
}

/** Request recommendations for the session; return null if there is no response in time. */
async function recommend(question) {
  try {
    const asked = { k: RECOMMEND_K_DEFAULT, exclude: [], ...question };
    asked.items ||= sessionItems();
    for (const name in asked) {
      if (Array.isArray(asked[name])) asked[name] = asked[name].map(toId).filter(Boolean);
      else if ([null, undefined, false, ""].includes(asked[name])) delete asked[name];
    }
    // The receipt contains the session, so a visitor without consent sends none. The client is for experiments.
    if (consent === "granted" && SHOP) {
      const { session_id: session, client_id: client } = visit();
      Object.assign(asked, { shop: SHOP, session, client });
    }
    const address = ENDPOINT + "recommend?" + new URLSearchParams(asked);
    const simple = address.length <= POST_ABOVE_CHARACTERS && !Object.values(asked).flat().some((id) => String(id).includes(","));
    const response = await fetch(simple ? address : ENDPOINT + "recommend", {
      credentials: "omit",
      signal: AbortSignal.timeout?.(RECOMMEND_TIMEOUT_MS),
      ...(simple ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) }),
    });
    const answer = response.ok ? await response.json() : null;
    if (!Array.isArray(answer?.items)) return null;
    announce("recommended", { asked: asked.items, answer });
    return answer;
  } catch {
    return null;
  }
}

/** Return the visitor's state; ids only with consent. */
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
    region: safe(setRegion),
    flush: safe(flush),
    recommend,
    visitor: safe(visitor),
    // Commands are arrays, so that a page need not wait for this file: tugboat.push(["track", "search", {...}])
    push: (...commands) => commands.forEach(safe(([name, ...given]) => api[name](...given))),
  };
  const early = window.tugboat;
  if (early?.track) return;
  window.tugboat = api;
  if (privacyControl) forget();
  safe(checkSettings)();
  // The region first, because the data layer's defaults depend on it.
  if (Array.isArray(early)) early.forEach(safe(([name, code]) => name === "region" && setRegion(code)));
  safe(readAlong)();
  if (Array.isArray(early)) {
    api.push(...early);
    // For pages that hold the array in a variable of their own.
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
    // Mark the queue as alive, so that no other page adopts it.
    safe(keep)(waiting());
    backoffUntil = 0;
    later(200);
  });
  addEventListener("storage", (event) => {
    // The visitor denied consent in another tab.
    if (event.key === PREFIX + "consent" && event.newValue) safe(setConsent)("denied");
  });
  // Send the events of earlier pages.
  later(BATCH_WAIT_MS);
  announce("ready", {});
}

// A prerendered page is not viewed yet.
if (document.prerendering) document.addEventListener("prerenderingchange", safe(start), { once: true });
else safe(start)();
