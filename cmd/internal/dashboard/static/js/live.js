// One event stream for the page that is shown; closed while the tab is hidden, resumed by the id of the last message.

const SILENT = 12000; // two missed beats [ms]

// open streams a page's sections. on.update(sections) gets what changed, on.state(name) one of live, connecting, lost, paused.
export function open(page, params, on) {
  let source = null, lastID = "", heard = Date.now(), state = "", closed = false, retry = null;
  const set = (s) => { if (s !== state) { state = s; on.state(s); } };
  const hear = (e) => { heard = Date.now(); if (e.lastEventId) lastID = e.lastEventId; set("live"); };

  function connect() {
    clearTimeout(retry);
    if (source) source.close();
    const query = new URLSearchParams(params);
    query.set("page", page);
    if (lastID) query.set("last_event_id", lastID);
    source = new EventSource("/api/v1/events?" + query);
    if (state !== "lost") set("connecting");
    source.addEventListener("update", (e) => { hear(e); on.update(JSON.parse(e.data).sections); });
    source.addEventListener("problem", (e) => { hear(e); on.problem(JSON.parse(e.data)); });
    source.addEventListener("beat", hear);
    source.onerror = lose;
  }

  function lose() {
    set("lost");
    if (source.readyState !== EventSource.CLOSED || closed) return;
    retry = setTimeout(connect, 2000); // the browser gave up, for instance after an answer that was no stream
  }

  function visibility() {
    if (document.hidden) { clearTimeout(retry); source?.close(); source = null; set("paused"); }
    else if (!source) connect();
  }

  const watch = setInterval(() => {
    if (!document.hidden && Date.now() - heard > SILENT) { heard = Date.now() - SILENT + 3000; set("lost"); connect(); }
  }, 1000);
  document.addEventListener("visibilitychange", visibility);
  visibility();
  return {
    close() {
      closed = true;
      clearInterval(watch);
      clearTimeout(retry);
      document.removeEventListener("visibilitychange", visibility);
      source?.close();
    },
  };
}
