// The shell around the pages: address → page, one stream, the header, what is announced.

import { h, s, patch } from "./dom.js";
import { open } from "./live.js";
import { span } from "./format.js";
import { Problem } from "./api.js";
import pipelines from "./pipelines.js";
import recordings from "./recordings.js";
import recording from "./recording.js";
import kpis from "./kpis.js";
import jobs from "./jobs.js";
import dlq from "./dlq.js";

const main = document.getElementById("content");
const el = (id) => document.getElementById(id);

// Every view is an address, its filters included.
const routes = [
  [/^\/p\/([^/]+)\/?$/, pipelines, ["pipeline"]],
  [/^\/p\/([^/]+)\/recordings$/, recordings, ["pipeline"]],
  [/^\/p\/([^/]+)\/r\/([^/]+)$/, recording, ["pipeline", "recording"]],
  [/^\/p\/([^/]+)\/kpis$/, kpis, ["pipeline"]],
  [/^\/jobs$/, jobs, []],
  [/^\/dlq$/, dlq, []],
];

// view is the page that is shown: its module's state, what the server sent, what the user changed.
let view = null;
let shell = null;       // the "shell" section, kept from page to page
let link = { state: "connecting", at: Date.now() };

function resolve() {
  for (const [pattern, page, names] of routes) {
    const m = pattern.exec(location.pathname);
    if (m) return { page, params: Object.fromEntries(names.map((n, i) => [n, decodeURIComponent(m[i + 1])])) };
  }
  return null;
}

function show({ focus = false } = {}) {
  view?.stop();
  const found = resolve();
  if (!found) return location.pathname === "/" ? home() : nowhere();
  view = start(found.page, found.params);
  draw();
  if (focus) { window.scrollTo(0, 0); main.querySelector("h1")?.focus(); }
}

// start makes the context that a page works with.
function start(page, params) {
  const ctx = {
    params, data: {}, ui: {}, problem: null, query: new URLSearchParams(location.search),
    get shell() { return shell; },
    redraw: draw, go, tell, alert: toast, ask, hear: announceCursor,
    setQuery(changes) {
      for (const [k, v] of Object.entries(changes)) v === null || v === "" ? ctx.query.delete(k) : ctx.query.set(k, v);
      const q = ctx.query.toString();
      history.replaceState(null, "", location.pathname + (q ? "?" + q : ""));
      if (Object.keys(changes).some((k) => !page.local?.includes(k))) listen();
      draw();
    },
  };
  let stream = null;
  function listen() {
    stream?.close();
    ctx.problem = null;
    const want = page.stream(ctx);
    const shared = [...ctx.query].filter(([k]) => !page.local?.includes(k));
    stream = open(want.page, { ...Object.fromEntries(shared), ...want.params }, {
      update(sections) {
        link.at = Date.now();
        if (ctx.problem && ctx.problem.section in sections) ctx.problem = null;
        Object.assign(ctx.data, sections);
        if (sections.shell) shell = sections.shell;
        schedule();
      },
      problem(p) { link.at = Date.now(); ctx.problem = p.error ? p : null; schedule(); },
      state(state) {
        if (link.state === "live") link.at = Date.now();
        if (state === "live") ctx.problem = null; // a new stream tells of it again
        link.state = state;
        drawLink();
      },
    });
  }
  listen();
  return { page, ctx, stop() { stream.close(); page.stop?.(ctx); } };
}

// schedule draws at most once a frame.
let due = 0;
function schedule() {
  if (!due) due = requestAnimationFrame(() => { due = 0; draw(); });
}

function draw() {
  if (!view) return;
  const { page, ctx } = view;
  const title = page.title(ctx);
  document.title = `${title} · milepost`;
  patch(main, [page.head?.(ctx) ?? h("h1", { tabindex: "-1", "data-key": "h1" }, title), body(page, ctx)]);
  page.after?.(ctx, main);
  drawNav();
  drawLink();
  const news = page.summary?.(ctx);
  if (news) tell(news);
}

function body(page, ctx) {
  if (page.ready(ctx)) return [ctx.problem && trouble(ctx.problem.error), page.draw(ctx)];
  if (ctx.problem) return trouble(ctx.problem.error);
  return h("div", { class: "loading", "aria-busy": "true", "data-key": "loading" }, h("p", {}, "Loading…"), [1, 2, 3].map(() => h("div", { class: "bone", "aria-hidden": "true" })));
}

function trouble(text) {
  return h("div", { class: "notice bad", role: "alert", "data-key": "trouble" }, h("strong", {}, "This page could not be loaded. "), text);
}

function home() {
  view = null;
  patch(main, [h("h1", { tabindex: "-1" }, "Pipelines"), h("p", { class: "empty" }, "Looking for pipelines…")]);
  fetch("/api/v1/pipelines").then((r) => r.json()).then(({ pipelines: [first] }) => {
    if (first) return go(`/p/${encodeURIComponent(first.name)}`, true);
    patch(main, [h("h1", { tabindex: "-1" }, "Pipelines"), h("p", { class: "empty" }, "The file has no pipelines.")]);
  }, (e) => patch(main, [h("h1", { tabindex: "-1" }, "Pipelines"), trouble(e.message)]));
}

function nowhere() {
  view = null;
  document.title = "No such page · milepost";
  patch(main, [h("h1", { tabindex: "-1" }, "No such page"),
    h("p", { class: "empty" }, "Nothing is served at ", h("code", {}, location.pathname), ". ", h("a", { href: "/", "data-link": "" }, "Pipelines"))]);
}

// The header

function drawNav() {
  const name = view.ctx.params.pipeline ?? view.ctx.query.get("pipeline") ?? shell?.pipelines[0]?.name;
  if (!name) return;
  const p = "/p/" + encodeURIComponent(name), q = "?pipeline=" + encodeURIComponent(name);
  const letters = shell?.dead_letters ?? 0;
  const results = home_of_results(name), r = "/p/" + encodeURIComponent(results);
  const items = [["Pipelines", p, pipelines], ["Recordings", `${r}/recordings`, recordings], ["KPIs", `${r}/kpis`, kpis], ["Jobs", "/jobs" + q, jobs], ["DLQ", "/dlq" + q, dlq]];
  patch(el("nav"), [h("ul", {}, items.map(([text, href, page]) => h("li", { "data-key": text },
    h("a", { href, "data-link": "", "aria-current": current(page) ? "page" : null }, text,
      text === "DLQ" && letters > 0 ? [" ", h("span", { class: "badge" }, String(letters), h("span", { class: "quiet" }, " open"))] : null))))]);
}

const current = (page) => view.page === page || (page === recordings && view.page === recording);

// A pipeline that reads another one's events has no recordings of its own; those of its source are shown.
function home_of_results(name) {
  const p = shell?.pipelines.find((x) => x.name === name);
  return p?.from.length ? p.from[0].split("/")[0] : name;
}

const words = { live: "live", connecting: "connecting", paused: "paused", lost: "disconnected" };

function drawLink() {
  const old = link.state === "lost" ? `, data is ${span((Date.now() - link.at) / 1000)} old` : "";
  const text = words[link.state] + old;
  patch(el("link"), [
    shell && h("span", { class: "transport", title: shell.transport.address || null }, shell.transport.kind),
    h("span", { class: "state " + link.state, "data-key": "state" },
      s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true", focusable: "false" }, link.state === "live" ? s("circle", { cx: 5, cy: 5, r: 4 })
        : link.state === "lost" ? s("path", { d: "M1 1l8 8M9 1L1 9" }) : s("circle", { cx: 5, cy: 5, r: 3.5, class: "hollow" })),
      h("span", {}, text))]);
  document.body.classList.toggle("stale", link.state === "lost");
}
setInterval(() => { if (link.state === "lost") drawLink(); }, 1000);
setInterval(() => { if (view && !document.hidden) draw(); }, 5000); // ages

// What is said aloud: the state of the page at most once in 5 s, and the last thing said wins.

let said = 0, waiting = null, latest = "";
function tell(text) {
  if (text === latest) return;
  latest = text;
  if (waiting) return;
  waiting = setTimeout(() => { waiting = null; said = Date.now(); el("news").textContent = latest; }, Math.max(0, said + 5000 - Date.now()));
}

let cursor = null;
function announceCursor(text) {
  clearTimeout(cursor);
  cursor = setTimeout(() => { el("cursor-news").textContent = text; }, 150);
}

function toast(what) {
  const text = what instanceof Problem && what.next ? `${what.message} – ${what.next}` : what.message ?? String(what);
  const note = h("div", { class: "toast" + (what instanceof Error ? " bad" : "") }, h("span", {}, text),
    h("button", { type: "button", class: "plain", onclick: () => note.remove(), "aria-label": "Dismiss" }, "×"));
  el("toasts").append(note);
  setTimeout(() => note.remove(), 8000);
}

// ask shows a question and gives true for yes. The browser keeps the focus inside and puts it back afterwards.
function ask({ title, text, yes, danger }) {
  const box = el("dialog");
  return new Promise((done) => {
    const finish = (v) => { box.onclose = null; box.close(); done(v); };
    box.replaceChildren(h("h2", { id: "dialog-title" }, title), ...[].concat(text).map((t) => h("p", {}, t)),
      h("div", { class: "row end" }, h("button", { type: "button", onclick: () => finish(false) }, "Keep as it is"),
        h("button", { type: "button", class: danger ? "danger" : "primary", onclick: () => finish(true) }, yes)));
    box.onclose = () => finish(false);
    box.showModal();
  });
}

// Addresses

function go(href, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", href);
  show({ focus: !replace });
}

document.addEventListener("click", (e) => {
  const a = e.target.closest("a[data-link]");
  if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  if (a.dataset.query !== undefined) {
    const url = new URL(a.getAttribute("href"), location.href); // an SVG link's href is no string
    const next = Object.fromEntries(url.searchParams);
    view.ctx.setQuery({ ...Object.fromEntries([...view.ctx.query.keys()].map((k) => [k, null])), ...next });
  } else go(a.getAttribute("href"));
});
window.addEventListener("popstate", () => show());
document.addEventListener("keydown", (e) => {
  if (e.target.matches("input, select, textarea, dialog *") || e.metaKey || e.ctrlKey || e.altKey) return;
  view?.page.key?.(view.ctx, e);
});

show();
