// KPIs: what the function did over all recordings, by group, and where to look first.

import { h } from "./dom.js";
import { clock, count, fixed, num, plural } from "./format.js";
import { bars, choice, empty, figures, recordingHref } from "./parts.js";

const names = { all: "All", real: "Recorded", simulated: "Simulated" };
const rows = [
  ["Recordings", (g) => count(g.logs)], ["Driven", (g) => `${num(g.distance_km)} km`], ["Length", (g) => clock(g.duration_s)],
  ["AEB events", (g) => count(g.events)], ["with braking", (g) => count(g.events_partial), true], ["with full braking", (g) => count(g.events_full), true],
  ["Warnings per 1000 km", (g) => num(g.warnings_per_1000km)], ["Brakings per 1000 km", (g) => num(g.brakings_per_1000km)],
  ["Verdict: true collision", (g) => count(g.verdicts.true_collision)], ["confirmed by the driver", (g) => count(g.verdicts.confirmed), true], ["unconfirmed", (g) => count(g.verdicts.unconfirmed), true], ["warning only", (g) => count(g.verdicts.warning_only), true],
  ["False positives per 1000 km", (g) => num(g.unconfirmed_per_1000km)], ["Hard brakings with a target", (g) => count(g.hard_brake_with_target)], ["missed", (g) => count(g.missed), true],
  ["Smallest TTC", (g) => (g.min_ttc === null ? "–" : `${num(g.min_ttc)} s`)], ["Largest required deceleration", (g) => (g.max_areq === null ? "–" : `${num(g.max_areq)} m/s²`)], ["RSS distance violated", (g) => clock(g.rss_violation_s)],
  ["Driver later than AEB, median", (g) => (g.driver_minus_brake_median_s === null ? "–" : `${num(g.driver_minus_brake_median_s)} s`)],
  ["Had it braked: avoided", (g) => count(g.cf_avoided)], ["collision", (g) => count(g.cf_collision), true], ["undetermined", (g) => count(g.cf_undetermined), true],
  ["Mean speed reduction", (g) => (g.cf_speed_reduction_mean === null ? "–" : `${num(g.cf_speed_reduction_mean * 3.6)} km/h`)],
];

const fleet = (k) => k.fleets.find((f) => f.doc?.fleet)?.doc;

function groups(k) {
  const f = fleet(k)?.fleet;
  if (!f) return h("p", { class: "muted", "data-key": "none" }, k.final ? "No analysis of this pipeline gives fleet figures." : "Fleet figures are folded when the recordings of the run are through.");
  const list = Object.keys(names).filter((g) => f[g]);
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "fleet", "data-key": "groups" }, h("table", { class: "kpis" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Figure"), list.map((g) => h("th", { scope: "col", class: "n" }, names[g])))),
    h("tbody", {}, rows.map(([label, show, sub]) => h("tr", { "data-key": label }, h("th", { scope: "row", class: sub ? "sub" : null }, label), list.map((g) => h("td", { class: "n" }, f[g].logs ? show(f[g]) : "–")))))));
}

function worst(k, pipeline) {
  if (!k.worst?.length) return empty("Nothing came close yet", "Recordings appear here in the order of their smallest enhanced time to collision.");
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "worst" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Recording"), ["Min ETTC", "Min TTC"].map((t) => h("th", { scope: "col", class: "n" }, t)), h("th", { scope: "col", class: "n wide" }, "Max decel."), h("th", { scope: "col", class: "n" }, "Events"), h("th", { scope: "col", class: "n wide" }, "FP"))),
    h("tbody", {}, k.worst.map((w) => h("tr", { "data-key": w.job }, h("th", { scope: "row" }, h("a", { href: recordingHref(pipeline, w.item, w.min_ettc_t_s === null ? "" : `?at=${+w.min_ettc_t_s.toFixed(3)}`), "data-link": "" }, w.item), w.min_ettc_t_s === null ? null : h("small", {}, `at ${fixed(w.min_ettc_t_s, 1)} s`)),
      h("td", { class: "n" }, fixed(w.min_ettc, 2) + " s"), h("td", { class: "n" }, w.min_ttc === null ? "–" : fixed(w.min_ttc, 2) + " s"), h("td", { class: "n wide" }, w.max_areq === null ? "–" : num(w.max_areq) + " m/s²"), h("td", { class: "n" }, count(w.events)), h("td", { class: "n wide" }, count(w.unconfirmed)))))));
}

const hist = { ttc_hist: ["Time to collision", "s", (edges) => (i) => edges[i] < 2.6], areq_hist: ["Required deceleration", "m/s²", (edges) => (i) => edges[i] >= 3] };

function head(k) {
  const f = fleet(k)?.fleet?.all, j = k.jobs, seen = k.histograms[0]?.recordings ?? 0;
  return figures(["Run", h("code", {}, k.run || "–"), k.final ? "complete" : `${count(j.finished + j.failed + j.cancelled)} of ${plural(j.total, "recording")}`],
    ["Recordings with a result", count(seen)], f && ["AEB events", count(f.events), `${count(f.events_partial)} with braking`], f && ["Brakings per 1000 km", num(f.brakings_per_1000km)],
    f && ["False positives", count(f.verdicts.unconfirmed), "candidates"], f && ["Smallest TTC", f.min_ttc === null ? "–" : `${num(f.min_ttc)} s`], j.failed > 0 && ["Failed", count(j.failed), "not counted"]);
}

export default {
  title: (ctx) => `KPIs of ${ctx.params.pipeline}`,
  stream: (ctx) => ({ page: "kpis", params: { pipeline: ctx.params.pipeline } }),
  ready: (ctx) => !!ctx.data.kpis,
  summary(ctx) { const k = ctx.data.kpis; return k && `${k.final ? "complete" : "in progress"}, ${k.histograms[0]?.recordings ?? 0} recordings with a result`; },
  draw(ctx) {
    const k = ctx.data.kpis;
    if (!k.jobs.total) return empty("No results yet", "Figures appear here as recordings come through the analysis.");
    return [k.runs.length > 1 && h("form", { class: "filters", "data-key": "filters", "aria-label": "Run", onsubmit: (e) => e.preventDefault() }, choice(ctx, "run", "Run", [["", "the last one"], ...k.runs.map((r) => [r, r || "without a name"])])),
      head(k),
      h("div", { class: "split", "data-key": "split" },
        h("section", { "aria-labelledby": "fleet" }, h("h2", { id: "fleet" }, "Fleet"), groups(k)),
        h("section", { "aria-labelledby": "spread" }, h("h2", { id: "spread" }, "Distribution and extremes"),
          h("div", { class: "stack" }, k.histograms.map((x) => { const [name, unit, critical] = hist[x.name]; return bars({ name, unit, edges: x.edges, counts: x.counts, critical: critical(x.edges), ui: ctx.ui, redraw: ctx.redraw }); })),
          h("h2", { id: "worst" }, "Worst recordings"), worst(k, ctx.params.pipeline)))];
  },
};
