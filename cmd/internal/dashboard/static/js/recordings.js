// Recordings: what the pipeline has to read, how far it is, what was found.

import { h } from "./dom.js";
import { brief, bytes, clock, count, fixed, plural } from "./format.js";
import { choice, empty, progress, recordingHref, search, state } from "./parts.js";

const statuses = ["queued", "started", "finished", "failed", "cancelled"];

function filters(ctx, d) {
  const labels = Object.entries(d.labels).flatMap(([k, vs]) => vs.map((v) => `${k}=${v}`));
  return h("form", { class: "filters", role: "search", "aria-label": "Recordings", onsubmit: (e) => e.preventDefault(), "data-key": "filters" },
    search(ctx, "search", "Search", "name"),
    choice(ctx, "status", "Status", [["", "any"], ...statuses.map((s) => [s, s])]),
    labels.length > 0 && choice(ctx, "label", "Label", [["", "any"], ...labels.map((l) => [l, l])]),
    choice(ctx, "sort", "Order", [["", "as submitted"], ["min_ttc", "smallest TTC first"], ["activations", "most events first"], ["item", "by name"], ["findings", "most findings first"]]),
    h("p", { class: "hits" }, `${count(d.matching)} of ${plural(d.total, "recording")}`));
}

function health(r) {
  if (r.findings > 0) return h("span", { class: "warn-text" }, plural(r.findings, "finding"));
  return r.state === "finished" ? "ok" : "–";
}

function row(ctx, r) {
  const part = r.state === "started" ? progress(r.progress, `Progress of ${r.name}`) : null;
  const read = r.state === "finished" ? null : r.read_s > 0 ? h("small", {}, `${clock(r.read_s)} read`) : null;
  return h("tr", { "data-key": r.job },
    h("th", { scope: "row" }, h("a", { href: recordingHref(ctx.params.pipeline, r.name), "data-link": "" }, r.name),
      r.error && h("p", { class: "why" }, r.stage ? `${r.stage}: ` : "", brief(r.error, r.name))),
    h("td", { class: "n wide" }, clock(r.duration_s)), h("td", { class: "n wide" }, r.bytes ? bytes(r.bytes) : "–"),
    h("td", {}, h("div", { class: "row" }, state(r.state), part, read)),
    h("td", { class: "n" }, count(r.events)), h("td", { class: "n wide" }, count(r.brakings)),
    h("td", { class: "n" }, r.min_ttc === null ? "–" : fixed(r.min_ttc, 2) + " s"), h("td", { class: "wide" }, health(r)));
}

function table(ctx, d) {
  if (d.total === 0) return empty("No recordings yet", "A recording appears here as soon as its job is queued. The reader's ", h("code", {}, "paths"), " say which files are taken.");
  if (d.matching === 0) return empty("No recording matches", h("button", { type: "button", onclick: () => ctx.setQuery({ search: null, status: null, label: null }) }, "Clear the filters"));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Recordings", "data-key": "table" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Recording"), h("th", { scope: "col", class: "n wide" }, "Length"), h("th", { scope: "col", class: "n wide" }, "Size"),
      h("th", { scope: "col" }, "Progress"), h("th", { scope: "col", class: "n" }, "Events"), h("th", { scope: "col", class: "n wide" }, "Brakings"), h("th", { scope: "col", class: "n" }, "Min TTC"), h("th", { scope: "col", class: "wide" }, "Health"))),
    h("tbody", {}, d.recordings.map((r) => row(ctx, r)))));
}

export const pages = (ctx, d, list) => (d.matching > list.length || d.offset > 0) && h("nav", { class: "row paging", "aria-label": "Pages of the list", "data-key": "paging" },
  h("button", { type: "button", disabled: d.offset === 0, onclick: () => ctx.setQuery({ offset: Math.max(0, d.offset - d.limit) || null }) }, "Previous"),
  h("span", {}, `${d.offset + 1} to ${d.offset + list.length} of ${count(d.matching)}`),
  h("button", { type: "button", disabled: d.offset + list.length >= d.matching, onclick: () => ctx.setQuery({ offset: d.offset + d.limit }) }, "Next"));

export default {
  title: (ctx) => `Recordings of ${ctx.params.pipeline}`,
  stream: (ctx) => ({ page: "recordings", params: { pipeline: ctx.params.pipeline } }),
  ready: (ctx) => !!ctx.data.recordings,
  summary(ctx) { const d = ctx.data.recordings; return d && `${d.matching} of ${d.total} recordings`; },
  draw(ctx) {
    const d = ctx.data.recordings;
    return [filters(ctx, d), table(ctx, d), pages(ctx, d, d.recordings)];
  },
};
