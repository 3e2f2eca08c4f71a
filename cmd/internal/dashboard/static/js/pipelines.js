// Pipelines: the graph with what each stage does now, its figures as a table, and one stage in detail.

import { h } from "./dom.js";
import { bytes, count, ms, plural, rate, throughput } from "./format.js";
import { graph } from "./graph.js";
import { figures, progress, spark, state } from "./parts.js";

const shown = (ctx) => ctx.data.pipelines?.pipelines.find((p) => p.name === ctx.params.pipeline);
const over = (j) => j.finished + j.failed + j.cancelled + j.expired;

// pick reads "pipeline/stage" of the address; a stage of another pipeline that reads this one can be opened too.
function pick(ctx) {
  const [pipeline, stage] = (ctx.query.get("stage") ?? "").split("/");
  return ctx.data.pipelines?.pipelines.find((p) => p.name === pipeline)?.nodes.find((n) => n.stage === stage);
}

function strip(p) {
  const j = p.jobs, all = j.total;
  return figures(
    ["State", state(p.state)],
    ["Recordings", `${count(over(j))} / ${count(all)}`, [all ? progress(over(j) / all, "Recordings done") : null, j.failed ? `${count(j.failed)} failed` : null,
      j.left_behind ? h("a", { href: "/jobs?status=left-behind", "data-link": "" }, `${count(j.left_behind)} left behind by another configuration`) : null]],
    ["Read", throughput(p.bytes_per_s), `${bytes(p.bytes)} of ${bytes(p.total_bytes)}`],
    ["Events", rate(p.events_per_s), `${count(p.events)} stored`],
    ["Lag", count(p.lag), "events"],
    ["p95", ms(p.p95_ms), p.slowest ? `in ${p.slowest}` : null],
    ["DLQ", h("a", { href: `/dlq?pipeline=${encodeURIComponent(p.name)}`, "data-link": "" }, count(p.dead_letters)), "open"]);
}

function tabs(ctx) {
  const list = ctx.data.pipelines.pipelines;
  if (list.length < 2) return null;
  return h("nav", { class: "tabs", "aria-label": "Choose a pipeline", "data-key": "tabs" }, h("ul", {}, list.map((p) => h("li", { "data-key": p.name },
    h("a", { href: `/p/${encodeURIComponent(p.name)}`, "data-link": "", "aria-current": p.name === ctx.params.pipeline ? "page" : null }, p.name)))));
}

function stages(p, ctx) {
  const chosen = pick(ctx);
  const cell = (text, cls) => h("td", { class: "n" + (cls ? " " + cls : "") }, text);
  return h("section", { "aria-labelledby": "stages", "data-key": "stages" }, h("h2", { id: "stages" }, "Stages"),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "stages" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Stage"), h("th", { scope: "col", class: "wide" }, "Type"), h("th", { scope: "col" }, "State"),
        h("th", { scope: "col", class: "n wide" }, "In"), h("th", { scope: "col", class: "n" }, "Out"), h("th", { scope: "col", class: "n" }, "Lag"), h("th", { scope: "col", class: "n wide" }, "p50"), h("th", { scope: "col", class: "n wide" }, "p95"),
        h("th", { scope: "col", class: "n wide" }, "Events"), h("th", { scope: "col", class: "n wide" }, "Errors"), h("th", { scope: "col", class: "n wide" }, "Retries"), h("th", { scope: "col", class: "n" }, "DLQ"))),
      h("tbody", {}, p.nodes.map((n) => h("tr", { "data-key": n.stage, class: n === chosen ? "chosen" : null },
        h("th", { scope: "row" }, h("a", { href: link(n), "data-link": "", "data-query": "" }, n.stage)),
        h("td", { class: "muted wide" }, n.uses), h("td", {}, state(n.state)),
        cell(n.inputs.length ? rate(n.in_per_s) : "–", "wide"), cell(n.role === "sink" ? "–" : rate(n.out_per_s)), cell(n.inputs.length ? count(n.lag) : "–"),
        cell(ms(n.p50_ms), "wide"), cell(ms(n.p95_ms), "wide"), cell(n.role === "sink" ? `${count(n.in)} written` : count(n.out), "wide"), cell(count(n.errors), "wide"), cell(count(n.retries), "wide"), cell(count(n.dead_letters))))))));
}

const link = (n) => `?stage=${encodeURIComponent(n.pipeline + "/" + n.stage)}`;

function detail(n, ctx) {
  const past = ctx.data.history?.pipeline === n.pipeline && ctx.data.history.stage === n.stage ? ctx.data.history : { in_per_s: [], out_per_s: [], p95_ms: [], errors: [], lag: [] };
  const signal = (name, now, note, values) => h("div", { class: "signal", "data-key": name }, h("h3", {}, name), h("p", { class: "now" }, now, h("small", {}, note)),
    spark(values, { label: `${name} in the last minutes, now ${now}` }));
  return h("section", { class: "card stage", "aria-labelledby": "stage", "data-key": "stage" },
    h("header", {}, h("h2", { id: "stage" }, `${n.pipeline}/${n.stage}`), state(n.state), h("span", { class: "muted" }, n.uses, n.parallelism > 1 ? ` ×${n.parallelism}` : "", n.local ? "" : ", in another process"),
      h("span", { class: "grow" }),
      h("a", { class: "button", href: `/dlq?pipeline=${encodeURIComponent(n.pipeline)}&stage=${encodeURIComponent(n.stage)}`, "data-link": "" }, `DLQ ${count(n.dead_letters)}`),
      h("a", { class: "button", href: "?", "data-link": "", "data-query": "" }, "Close")),
    h("div", { class: "signals" },
      n.role === "sink" ? signal("Rate", rate(n.in_per_s), ` in, ${count(n.in)} written`, past.in_per_s) : signal("Rate", rate(n.out_per_s), ` out, ${rate(n.in_per_s)} in`, past.out_per_s),
      signal("Latency", ms(n.p95_ms), ` p95, ${ms(n.p50_ms)} p50`, past.p95_ms),
      signal("Errors", count(n.errors), plural(n.retries, "retry", "retries"), past.errors),
      signal("Lag", count(n.lag), ` ${n.lag === 1 ? "event" : "events"} behind`, past.lag)));
}

// full says of each stage whose log is full what keeps room in it, and the commands that give it back.
function full(p) {
  const held = p.nodes.filter((n) => n.held_by);
  if (!held.length) return null;
  const lines = (n) => {
    const jobs = n.held_by.jobs ?? [], ids = jobs.slice(0, 5).map((j) => j.job), more = jobs.length - ids.length, letters = n.held_by.letter_bytes ?? 0;
    return [
      jobs.length > 0 && h("li", { "data-key": n.stage + " jobs" }, h("strong", {}, n.stage), `: ${plural(jobs.length, "failed job")} ${jobs.length === 1 ? "holds" : "hold"} ${bytes(jobs.reduce((sum, j) => sum + j.bytes, 0))}: `,
        jobs.slice(0, 5).map((j) => `${j.job} ${bytes(j.bytes)}`).join(", "), more > 0 ? ` and ${count(more)} more. ` : ". ",
        h("code", {}, `milepost dlq redrive ${jobs[0].pipeline}`), " or ", h("code", {}, `milepost jobs cancel ${ids.join(" ")}`)),
      letters > 0 && h("li", { "data-key": n.stage + " letters" }, h("strong", {}, n.stage), `: dead letters of jobs that are over hold ${bytes(letters)}. `,
        h("code", {}, `milepost dlq purge ${n.pipeline}/${n.stage}`))];
  };
  return h("section", { class: "card", "aria-labelledby": "full", "data-key": "full" }, h("h2", { id: "full" }, "Full logs"), h("ul", {}, held.flatMap(lines)));
}

let watcher = null, width = 0;

export default {
  title: (ctx) => ctx.params.pipeline,
  stream: () => ({ page: "pipelines" }),
  ready: (ctx) => !!ctx.data.pipelines,
  summary(ctx) {
    const p = shown(ctx);
    return p && `${p.name} ${p.state}, ${over(p.jobs)} of ${p.jobs.total} recordings done, ${p.dead_letters} in the DLQ`;
  },
  draw(ctx) {
    const p = shown(ctx);
    if (!p) return [tabs(ctx), h("p", { class: "empty" }, `The file has no pipeline "${ctx.params.pipeline}".`)];
    const n = pick(ctx), all = ctx.data.pipelines.pipelines;
    return [tabs(ctx), p.description && h("p", { class: "about", "data-key": "about" }, p.description), strip(p),
      h("section", { class: "card canvas", "aria-labelledby": "graph", "data-key": "graph" }, h("h2", { id: "graph", class: "quiet" }, "Graph"),
        graph(p, all, { width: width || 900, selected: n && n.pipeline + "/" + n.stage, href: link })),
      full(p), n && detail(n, ctx), stages(p, ctx)];
  },
  after(ctx, main) {
    const box = main.querySelector(".canvas");
    if (!box || watcher?.box === box) return;
    watcher?.disconnect();
    watcher = new ResizeObserver(([e]) => { const w = Math.floor(e.contentRect.width); if (w && w !== width) { width = w; ctx.redraw(); } });
    watcher.box = box;
    watcher.observe(box);
  },
  stop() { watcher?.disconnect(); watcher = null; },
  key(ctx, e) { if (e.key === "Escape" && ctx.query.get("stage")) ctx.setQuery({ stage: null }); },
};
