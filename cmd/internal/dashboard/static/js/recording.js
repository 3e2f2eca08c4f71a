// One recording: its signals over time on one cursor and one zoom, the AEB function's events, what is wrong with the data.

import { h, s } from "./dom.js";
import { brief, bytes, clock, count, fixed, num, plural } from "./format.js";
import { get, path } from "./api.js";
import { empty, figures, progress, state, table } from "./parts.js";
import { Plots } from "./plots.js";

const detail = (ctx) => ctx.data.recording;
const stages = ["none", "warning", "partial braking", "full braking"];

// events are the function's: the final ones of the result, or, while it is not there, what the activations tell.
function events(d) {
  if (d.aeb_events) {
    return d.aeb_events.map((e) => ({ from: e.t_start_ns / 1e9, to: e.t_end_ns / 1e9, brake: e.t_partial_ns === null ? null : e.t_partial_ns / 1e9, stage: e.max_stage,
      ttc: e.min_ttc, ettc: e.min_ettc, areq: e.max_areq, gap: e.min_gap, verdict: e.verdict, cf: e.counterfactual, final: true }));
  }
  const list = [];
  for (const { doc: a } of d.activations) {
    if (a.from === 0) list.push({ from: a.t, to: null, brake: null, stage: 0, ttc: null, ettc: null, areq: null, gap: null, verdict: null });
    const e = list.at(-1);
    if (!e) continue;
    if (a.stage === 0) e.to = a.t;
    if (a.stage >= 2 && e.brake === null) e.brake = a.t;
    e.stage = Math.max(e.stage, a.stage);
    e.ttc = least(e.ttc, a.ttc);
    e.ettc = least(e.ettc, a.ettc);
    e.areq = a.areq === null ? e.areq : Math.max(e.areq ?? 0, a.areq);
  }
  return list.map((e) => ({ ...e, to: e.to ?? Math.max(e.from, d.read_s) }));
}

// bound is an extreme value in words. While the recording is read only the values at the changes of the stage are known, and
// what is extreme lies there or beyond.
const bound = (e, v, unit, beyond) => (v === null ? "–" : `${e.final ? "" : beyond + " "}${num(v)} ${unit}`);

const least = (a, b) => (b === null || b === undefined ? a : a === null ? b : Math.min(a, b));

// The window and the choice of signals live in the address.

const wanted = ["ego.v", "tick.x", "tick.ttc", "tick.stage"];

function chosen(ctx) {
  const q = ctx.query.get("signals"), all = detail(ctx).signals.map((s) => s.ref);
  if (q !== null) return q.split(",").filter((r) => all.includes(r));
  const found = wanted.map((w) => detail(ctx).signals.find((s) => `${s.table}.${s.name}` === w)?.ref).filter(Boolean);
  return found.length ? found : all.slice(0, 3);
}

const end = (d) => Math.max(1, ...d.signals.map((s) => s.last_s));

// extent is the window that is shown.
function extent(ctx) {
  const last = end(detail(ctx)), from = Number(ctx.query.get("from") ?? 0), to = Number(ctx.query.get("to") ?? last);
  return from >= 0 && to > from ? [from, Math.min(to, Math.max(last, from + 1))] : [0, last];
}

function look(ctx, from, to) {
  const last = end(detail(ctx)), width = Math.max(0.5, Math.min(to - from, last));
  from = Math.max(0, Math.min(from, last - width));
  const all = width >= last - 1e-6;
  ctx.setQuery({ from: all ? null : String(+from.toFixed(3)), to: all ? null : String(+(from + width).toFixed(3)) });
}

function zoom(ctx, factor) {
  const [a, b] = extent(ctx), at = ctx.ui.at >= a && ctx.ui.at <= b ? ctx.ui.at : (a + b) / 2;
  look(ctx, at - (at - a) * factor, at + (b - at) * factor);
}

function jump(ctx, e) {
  const margin = Math.max(4, (e.to - e.from) * 0.8);
  ctx.ui.at = e.brake ?? e.from;
  look(ctx, e.from - margin, e.to + margin);
  ctx.hear(`${e.text ?? stages[e.stage]} at ${fixed(e.from, 2)} s` + (e.ttc === null ? "" : `, smallest TTC ${num(e.ttc)} s`));
}

function step(ctx, way) {
  const list = events(detail(ctx)), at = ctx.ui.at ?? (way > 0 ? -1 : Infinity), key = (e) => e.brake ?? e.from;
  const next = way > 0 ? list.find((e) => key(e) > at + 1e-6) : list.findLast((e) => key(e) < at - 1e-6);
  if (next) jump(ctx, next);
  else ctx.hear(way > 0 ? "no later event" : "no earlier event");
}

// Drawing

function facts(d) {
  const k = d.kpis ?? {};
  return figures(
    ["State", h("span", { class: "row" }, state(d.state), d.state === "started" ? progress(d.progress, "Progress") : null)],
    ["Length", clock(d.duration_s ?? (d.read_s || null)), d.duration_s === null && d.read_s > 0 ? "so far" : null],
    ["Distance", k.distance_km === undefined ? "–" : `${num(k.distance_km)} km`, k.mean_speed ? `mean ${num(k.mean_speed * 3.6)} km/h` : null],
    ["AEB events", count(d.events), d.brakings === null ? null : plural(d.brakings, "braking")],
    ["Min TTC", d.min_ttc === null ? "–" : `${fixed(d.min_ttc, 2)} s`, k.min_ttc_t_ns ? `at ${fixed(k.min_ttc_t_ns / 1e9, 1)} s` : null],
    ["Max required decel.", k.max_areq === undefined || k.max_areq === null ? "–" : `${num(k.max_areq)} m/s²`],
    ["RSS violated", k.rss_violation_s === undefined ? "–" : `${fixed(k.rss_violation_s, 1)} s`],
    ["Findings", d.state === "failed" && !d.health ? "–" : count(d.findings), d.bytes ? bytes(d.bytes) : null]);
}

function bar(ctx) {
  const d = detail(ctx), picked = chosen(ctx), [a, b] = extent(ctx), last = end(d);
  const set = (list) => ctx.setQuery({ signals: list.join(",") || null });
  const rest = d.signals.filter((s) => !picked.includes(s.ref));
  const groups = [...new Set(rest.map((s) => `${s.stage} / ${s.table}`))];
  return h("div", { class: "toolbar", role: "group", "aria-label": "Signals and window", "data-key": "bar" },
    h("ul", { class: "tags" }, picked.map((r) => { const s = d.signals.find((x) => x.ref === r); return h("li", { "data-key": r }, `${s.table}.${s.name}`,
      h("button", { type: "button", class: "plain", "aria-label": `Remove ${s.table}.${s.name}`, onclick: () => set(picked.filter((x) => x !== r)) }, "×")); })),
    rest.length > 0 && h("label", { class: "field inline" }, h("span", { class: "quiet" }, "Add a signal"), h("select", { value: "", onchange: (e) => { const v = e.target.value; e.target.value = ""; if (v) set([...picked, v]); } },
      h("option", { value: "" }, "+ add signal"), groups.map((g) => h("optgroup", { label: g }, rest.filter((s) => `${s.stage} / ${s.table}` === g).map((s) => h("option", { value: s.ref }, s.name + (s.unit ? ` [${s.unit}]` : ""))))))),
    h("span", { class: "grow" }),
    h("span", { class: "window" }, `${fixed(a, 1)} s – ${fixed(b, 1)} s`),
    h("div", { class: "row joined" },
      h("button", { type: "button", class: "small", title: "previous event: [", "aria-keyshortcuts": "[", onclick: () => step(ctx, -1) }, "← event"),
      h("button", { type: "button", class: "small", title: "next event: ]", "aria-keyshortcuts": "]", onclick: () => step(ctx, 1) }, "event →")),
    h("div", { class: "row joined" },
      h("button", { type: "button", class: "small", "aria-label": "Zoom in", onclick: () => zoom(ctx, 0.5) }, "+"),
      h("button", { type: "button", class: "small", "aria-label": "Zoom out", onclick: () => zoom(ctx, 2) }, "−"),
      h("button", { type: "button", class: "small", disabled: a === 0 && b === last, onclick: () => look(ctx, 0, last) }, "All")));
}

// describe sums a signal up in a sentence for those who do not see the picture.
function describe(s, line) {
  const known = s.mean.filter((v) => v !== null);
  const gaps = s.mean.filter((v, i) => v === null && i > 0 && s.mean[i - 1] !== null).length;
  if (!known.length) return "no samples in this window";
  const low = Math.min(...s.min.filter((v) => v !== null)), high = Math.max(...s.max.filter((v) => v !== null));
  return `${`${num(low)} to ${num(high)} ${s.unit}`.trim()}, mean ${num(known.reduce((x, y) => x + y, 0) / known.length)}, ${fixed(line.from_s, 1)} to ${fixed(line.to_s, 1)} s` + (gaps ? `, ${plural(gaps, "gap")}` : "");
}

function chart(ctx) {
  const d = detail(ctx), line = ctx.ui.line;
  if (!d.signals.length) return empty(d.state === "failed" ? "No signals were read" : "No signals yet", d.state === "failed" ? "The reader gave up before the first sample." : "They appear here while the recording is being read.");
  const at = ctx.ui.at ?? extent(ctx)[0];
  return h("section", { class: "card timeline", "aria-labelledby": "timeline", "data-key": "timeline" }, h("h2", { id: "timeline", class: "quiet" }, "Timeline"), bar(ctx),
    h("div", { class: "plots", id: "plots", tabindex: "0", role: "slider", "aria-label": "Time cursor", "aria-valuemin": "0", "aria-valuemax": String(+end(d).toFixed(3)), "aria-valuenow": String(+at.toFixed(3)),
      "aria-valuetext": ctx.ui.plots?.text(at) ?? `${fixed(at, 2)} s`, "aria-describedby": "plots-help", onkeydown: (e) => keys(ctx, e), "data-island": "", "data-key": "plots" }),
    overview(ctx),
    h("p", { class: "muted help", id: "plots-help" }, "drag: zoom · shift-drag: pan · arrow keys: cursor, with shift by ten · + and −: zoom · [ ]: previous and next event"),
    ctx.ui.failed && h("p", { class: "warn-text", role: "alert" }, ctx.ui.failed),
    line && line.series.map((s) => h("div", { class: "about-signal", "data-key": "d-" + s.ref }, h("p", {}, h("strong", {}, `${s.table}.${s.name}`), ` ${describe(s, line)}`),
      table(ctx.ui, ctx.redraw, `${s.table}.${s.name}`, ["t [s]", `min [${s.unit || "1"}]`, "mean", "max"], thin(line.t_s.map((t, i) => [fixed(t, 2), num(s.min[i]), num(s.mean[i]), num(s.max[i])]))))));
}

// overview is the whole recording in a strip: the first signal, the events, the window, which can be drawn and pushed there.
function overview(ctx) {
  const whole = ctx.ui.whole, last = end(detail(ctx)), [a, b] = extent(ctx), w = 1000, height = 40, x = (t) => (t / last) * w;
  if (!whole?.series.length) return null;
  const { mean } = whole.series[0], known = mean.filter((v) => v !== null), low = Math.min(0, ...known), high = Math.max(...known, low + 1e-9);
  const y = (v) => (height - 1 - ((v - low) / (high - low)) * (height - 8)).toFixed(1), wide = x(whole.column_s).toFixed(2);
  const columns = whole.t_s.map((t, i) => (mean[i] === null ? "" : `M${x(t).toFixed(1)} ${height}V${y(mean[i])}h${wide}V${height}z`)).join("");
  return h("div", { class: "overview", "data-key": "overview", "aria-hidden": "true", onpointerdown: (e) => drag(ctx, e) },
    s("svg", { viewBox: `0 0 ${w} ${height}`, preserveAspectRatio: "none" },
      s("path", { class: "all", d: columns }),
      events(detail(ctx)).map((e) => s("rect", { class: "event s" + e.stage, x: x(e.from), y: 0, width: Math.max(2, x(e.to) - x(e.from)), height })),
      s("path", { class: "outside", d: `M0 0H${x(a)}V${height}H0ZM${x(b)} 0H${w}V${height}H${x(b)}Z` }),
      s("rect", { class: "pane", x: x(a), y: 0.5, width: Math.max(2, x(b) - x(a)), height: height - 1 })));
}

// drag pushes the window when it begins inside of it (and there is room), else draws a new one.
function drag(ctx, e) {
  const box = e.currentTarget, r = box.getBoundingClientRect(), last = end(detail(ctx)), [a, b] = extent(ctx), at = (m) => Math.max(0, Math.min(1, (m.clientX - r.left) / r.width)) * last;
  const from = at(e), push = from > a && from < b && b - a < last * 0.98;
  e.preventDefault();
  box.setPointerCapture(e.pointerId);
  const up = (m) => {
    box.removeEventListener("pointerup", up);
    const to = at(m);
    if (push) look(ctx, a + to - from, b + to - from);
    else if (Math.abs(to - from) > last / 200) look(ctx, Math.min(from, to), Math.max(from, to));
    else look(ctx, from - (b - a) / 2, from + (b - a) / 2);
  };
  box.addEventListener("pointerup", up);
}

const thin = (rows, most = 60) => (rows.length <= most ? rows : rows.filter((_, i) => i % Math.ceil(rows.length / most) === 0));

function keys(ctx, e) {
  const [a, b] = extent(ctx), unit = (ctx.ui.line?.column_s ?? (b - a) / 500) * (e.shiftKey ? 10 : 1), at = ctx.ui.at ?? a;
  const moves = { ArrowLeft: at - unit, ArrowRight: at + unit, ArrowDown: at - unit, ArrowUp: at + unit, Home: a, End: b, PageUp: at + (b - a) / 10, PageDown: at - (b - a) / 10 };
  if (e.key in moves) { ctx.ui.at = Math.max(a, Math.min(b, moves[e.key])); ctx.ui.plots?.cursor(ctx.ui.at); slider(ctx); }
  else if (e.key === "+" || e.key === "=") zoom(ctx, 0.5);
  else if (e.key === "-") zoom(ctx, 2);
  else if (e.key === "Escape") look(ctx, 0, end(detail(ctx)));
  else return;
  e.preventDefault();
  e.stopPropagation();
}

// slider says the cursor's place and values without drawing the page again.
function slider(ctx) {
  const box = document.getElementById("plots");
  if (!box) return;
  box.setAttribute("aria-valuenow", String(+ctx.ui.at.toFixed(3)));
  box.setAttribute("aria-valuetext", ctx.ui.plots.text(ctx.ui.at));
}

function eventTable(ctx, list) {
  if (!list.length) return empty("No AEB events", detail(ctx).kpis ? "The function did not react in this recording." : detail(ctx).state === "failed" ? "The recording failed before the function came to a result." : "None so far.");
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "events" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Begins", "Reaches"].map((t) => h("th", { scope: "col" }, t)), h("th", { scope: "col", class: "n" }, "Min TTC"), ["Min ETTC", "Max decel.", "Min gap"].map((t) => h("th", { scope: "col", class: "n wide" }, t)),
      h("th", { scope: "col" }, "Verdict"), h("th", { scope: "col", class: "wide" }, "Had it braked"))),
    h("tbody", {}, list.map((e, i) => h("tr", { "data-key": String(i) }, h("th", { scope: "row" }, h("button", { type: "button", class: "plain", onclick: () => jump(ctx, e) }, fixed(e.from, 2) + " s")),
      h("td", {}, h("span", { class: "mark s" + e.stage, "aria-hidden": "true" }), stages[e.stage]), h("td", { class: "n" }, bound(e, e.ttc, "s", "≤")), h("td", { class: "n wide" }, bound(e, e.ettc, "s", "≤")),
      h("td", { class: "n wide" }, bound(e, e.areq, "m/s²", "≥")), h("td", { class: "n wide" }, bound(e, e.gap, "m", "≤")), h("td", {}, (e.verdict ?? "pending").replaceAll("_", " ")),
      h("td", { class: "wide" }, e.cf ? `${e.cf.outcome}, ${num(e.cf.speed_reduction * 3.6)} km/h less${e.cf.impact_speed ? `, impact at ${num(e.cf.impact_speed * 3.6)} km/h` : ""}` : "–"))))));
}

const known = ["t_ns", "kind", "signal", "table", "text", "message", "channel"];

function findings(ctx, d) {
  if (!d.faults.length) return h("p", { class: "muted" }, d.health ? "Signal health found nothing." : d.state === "failed" ? "Not checked: the recording was not read to its end." : "No findings so far.");
  const rest = (doc) => Object.entries(doc).filter(([k, v]) => !known.includes(k) && v !== null && typeof v !== "object").map(([k, v]) => `${k.replaceAll("_", " ")} ${typeof v === "number" ? num(v) : v}`).join(", ");
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "findings" }, h("table", {},
    h("thead", {}, h("tr", {}, ["At", "Signal", "Finding", "Detail"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, d.faults.map((f, i) => h("tr", { "data-key": String(i) }, h("th", { scope: "row" }, h("button", { type: "button", class: "plain", onclick: () => jump(ctx, { from: f.t_s, to: f.doc.t_end_ns ? f.doc.t_end_ns / 1e9 : f.t_s, brake: null, stage: 0, ttc: null, text: f.doc.kind }) }, fixed(f.t_s, 2) + " s")),
      h("td", {}, f.doc.signal || f.doc.table || "–"), h("td", {}, String(f.doc.kind ?? f.type).replaceAll("_", " ")), h("td", { class: "muted" }, f.doc.text ?? f.doc.message ?? rest(f.doc)))))));
}

function troubles(d) {
  const held = d.letters.filter((l) => l.redrivable);
  const link = (l) => h("a", { href: `/dlq?pipeline=${encodeURIComponent(l.pipeline)}&recording=${encodeURIComponent(l.recording)}`, "data-link": "" }, l.id);
  if (!d.error && !held.length) return null;
  return h("div", { class: "notice bad", "data-key": "error" }, d.error && h("p", { class: "lines" }, h("strong", {}, d.stage ? `Failed at ${d.stage}. ` : "Failed. "), d.error),
    held.map((l) => h("p", { class: "muted", "data-key": l.id }, "Dead letter ", link(l), d.error ? " holds the input; a redrive takes it again." : ` in ${l.pipeline}/${l.stage}: ${brief(l.error, l.recording)}`)));
}

// Loading

function load(ctx) {
  const d = detail(ctx), width = document.getElementById("plots")?.clientWidth ?? 0, picked = chosen(ctx), [a, b] = extent(ctx);
  if (!width || !d.signals.length) return;
  const key = [picked, a, b, width, d.signals.reduce((n, s) => n + s.rows, 0)].join("|");
  if (ctx.ui.key === key) return;
  ctx.ui.key = key;
  ctx.ui.abort?.abort();
  loadWhole(ctx, d, picked[0]);
  ctx.ui.abort = new AbortController();
  const q = new URLSearchParams({ from: String(a), to: String(b), px: String(Math.max(50, Math.floor(width - 60))) });
  for (const r of picked) q.append("signal", r);
  get(path("pipelines", d.pipeline, "recordings", d.name, "timeline") + "?" + q, ctx.ui.abort.signal).then((line) => {
    ctx.ui.line = line;
    ctx.ui.failed = null;
    ctx.ui.plots?.show(line, events(detail(ctx)));
    if (ctx.ui.at !== undefined) ctx.ui.plots?.cursor(ctx.ui.at);
    ctx.redraw();
  }, (e) => { if (e.name !== "AbortError") { ctx.ui.failed = e.message; ctx.ui.key = null; ctx.redraw(); } });
}

// loadWhole fetches the strip: again when the recording has grown or another signal stands first.
function loadWhole(ctx, d, ref) {
  const key = ref + "|" + end(d);
  if (!ref || ctx.ui.wholeKey === key) return;
  ctx.ui.wholeKey = key;
  get(path("pipelines", d.pipeline, "recordings", d.name, "timeline") + "?" + new URLSearchParams({ px: "500", signal: ref }))
    .then((line) => { ctx.ui.whole = line; ctx.redraw(); }, () => { ctx.ui.wholeKey = null; });
}

export default {
  title: (ctx) => ctx.params.recording,
  local: ["from", "to", "at", "signals"],
  stream: (ctx) => ({ page: "recording", params: ctx.params }),
  ready: (ctx) => !!detail(ctx),
  head: (ctx) => h("div", { class: "title", "data-key": "h1" }, h("a", { href: `/p/${encodeURIComponent(ctx.params.pipeline)}/recordings`, "data-link": "" }, "Recordings"), h("span", { "aria-hidden": "true" }, "/"), h("h1", { tabindex: "-1" }, ctx.params.recording)),
  summary(ctx) { const d = detail(ctx); return d && `${d.name} ${d.state}, ${plural(d.events, "AEB event")}, ${plural(d.findings, "finding")}`; },
  draw(ctx) {
    const d = detail(ctx), list = events(d), at = ctx.query.get("at");
    if (at !== null && d.signals.length) {
      ctx.query.delete("at");
      ctx.ui.at = Number(at);
      queueMicrotask(() => look(ctx, ctx.ui.at - 8, ctx.ui.at + 8));
    }
    return [facts(d), troubles(d), chart(ctx),
      h("section", { "aria-labelledby": "events", "data-key": "events" }, h("h2", { id: "events" }, "AEB events"), eventTable(ctx, list)),
      h("section", { "aria-labelledby": "findings", "data-key": "findings" }, h("h2", { id: "findings" }, "Signal health"), findings(ctx, d))];
  },
  after(ctx) {
    const box = document.getElementById("plots");
    if (!box) return;
    if (ctx.ui.plots?.box !== box) {
      ctx.ui.plots?.close();
      ctx.ui.plots = new Plots(box, {
        range: (a, b) => look(ctx, a, b), moved: (t) => { ctx.ui.at = t; slider(ctx); }, resized: () => load(ctx),
        window: () => extent(ctx), limit: () => end(detail(ctx)),
      });
      ctx.ui.key = null;
    }
    load(ctx);
  },
  stop(ctx) { ctx.ui.plots?.close(); ctx.ui.abort?.abort(); },
  key(ctx, e) {
    if (e.key === "[") step(ctx, -1);
    else if (e.key === "]") step(ctx, 1);
  },
};
