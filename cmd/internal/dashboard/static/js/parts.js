// Parts that several pages use: figures, state chips, sparklines, bars, a chart's data table.

import { h, s } from "./dom.js";
import { glyph } from "./graph.js";
import { count } from "./format.js";

export const state = (word, text = word) => h("span", { class: "chip " + word }, glyph(word), text);

// figures is a strip of labelled numbers; a term and its value belong together for everybody.
export const figures = (...list) => h("dl", { class: "figures" }, list.filter(Boolean).map(([label, value, note]) =>
  h("div", { "data-key": label }, h("dt", {}, label), h("dd", { "data-figure": label }, value, note && [].concat(note).some(Boolean) ? h("small", {}, note) : null))));

export const progress = (value, label) => (value === null || value === undefined
  ? null
  : h("progress", { max: "1", value: String(value), "aria-label": label }, `${Math.round(value * 100)} %`));

// spark is a small line of what was, with its text beside it said by the caller.
export function spark(values, { width = 180, height = 34, label } = {}) {
  const known = values.filter((v) => v !== null && v !== undefined);
  if (known.length < 2) return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${label}: not enough data yet` });
  const top = Math.max(...known, 1e-9);
  const x = (i) => (i / (values.length - 1)) * (width - 2) + 1, y = (v) => height - 2 - (v / top) * (height - 5);
  const line = values.map((v, i) => (v === null ? "" : `${i && values[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`)).join("");
  return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, preserveAspectRatio: "none" },
    s("path", { class: "area", d: `${line}L${x(values.length - 1).toFixed(1)} ${height}L${x(0)} ${height}Z` }), s("path", { class: "line", d: line }));
}

// bars is a histogram over named bins; limit marks the bin from which values are critical. The counts are logarithmic in height
// because one bin of uncritical driving dwarfs what matters; each bar carries its number.
export function bars({ name, unit, edges, counts, critical, ui, redraw }) {
  const width = 520, height = 168, left = 4, bottom = 34, top = 18;
  const most = Math.max(...counts, 1), step = (width - left * 2) / counts.length;
  const tall = (v) => (v === 0 ? 0 : Math.max(3, (Math.log1p(v) / Math.log1p(most)) * (height - top - bottom)));
  const bin = (i) => (i + 1 < edges.length ? `${edges[i]} to ${edges[i + 1]}` : `${edges[i]} and more`);
  const total = counts.reduce((a, b) => a + b, 0), bad = counts.filter((_, i) => critical(i)).reduce((a, b) => a + b, 0);
  const summary = total ? `${count(total)} ticks, ${count(bad)} of them in critical bins` : "no ticks with a value";
  return h("figure", { class: "card chart", "data-key": name },
    h("figcaption", {}, h("h3", {}, name), h("p", { class: "muted" }, summary, " · height logarithmic")),
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name}: ${summary}`, class: "bars" },
      counts.map((v, i) => {
        const hgt = tall(v), x = left + i * step;
        return s("g", { class: critical(i) ? "critical" : "" },
          s("rect", { x: x + 2, y: height - bottom - hgt, width: step - 4, height: hgt, rx: 1.5 }),
          v > 0 && s("text", { x: x + step / 2, y: height - bottom - hgt - 5, "text-anchor": "middle" }, short(v)),
          s("text", { class: "axis", x: x + 2, y: height - bottom + 15 }, String(edges[i])));
      }),
      s("path", { class: "base", d: `M${left} ${height - bottom + 0.5}H${width - left}` }),
      s("text", { class: "axis", x: width - left, y: height - 4, "text-anchor": "end" }, `lower edge of bin [${unit}]`)),
    table(ui, redraw, name, ["Bin [" + unit + "]", "Ticks"], counts.map((v, i) => [bin(i), count(v)])));
}

const short = (v) => (v >= 10000 ? (v / 1000).toFixed(0) + "k" : v >= 1000 ? (v / 1000).toFixed(1) + "k" : String(v));

// table is a chart's data behind a button.
export function table(ui, redraw, name, head, rows) {
  const key = "table:" + name, shown = ui[key], id = "data-" + name.replace(/[^a-z0-9]+/gi, "-");
  return h("div", { class: "data" },
    h("button", { type: "button", class: "plain", "aria-expanded": String(!!shown), "aria-controls": id, onclick: () => { ui[key] = !shown; redraw(); } },
      shown ? "Hide data" : "Show data", h("span", { class: "quiet" }, ` of ${name}`)),
    h("div", { id, class: "scroll", hidden: !shown, tabindex: shown ? "0" : null, role: "group", "aria-label": `Data of ${name}` },
      shown && h("table", { class: "dense" }, h("caption", { class: "quiet" }, name), h("thead", {}, h("tr", {}, head.map((t) => h("th", { scope: "col" }, t)))),
        h("tbody", {}, rows.map((r) => h("tr", {}, r.map((c) => h("td", {}, c))))))));
}

export const empty = (title, ...text) => h("div", { class: "empty", "data-key": "empty" }, h("p", { class: "lead" }, title), h("p", {}, text));

// choice is a labelled select whose value lives in the address; also is what else changes there with it.
export function choice(ctx, name, label, options, also = {}) {
  const value = ctx.query.get(name) ?? "";
  return h("label", { class: "field", "data-key": "f-" + name }, h("span", {}, label),
    h("select", { name, onchange: (e) => ctx.setQuery({ [name]: e.target.value, after: null, ...also }), value },
      options.map(([v, text]) => h("option", { value: v, selected: v === value }, text))));
}

// search is a labelled text field whose value lives in the address, taken over when typing rests.
let typing = null;
export function search(ctx, name, label, placeholder) {
  return h("label", { class: "field grow", "data-key": "f-" + name }, h("span", {}, label),
    h("input", { type: "search", name, value: ctx.query.get(name) ?? "", placeholder, autocomplete: "off", spellcheck: "false",
      oninput: (e) => { const v = e.target.value; clearTimeout(typing); typing = setTimeout(() => ctx.setQuery({ [name]: v, after: null }), 250); } }));
}

export const recordingHref = (pipeline, name, query = "") => `/p/${encodeURIComponent(pipeline)}/r/${encodeURIComponent(name)}${query}`;
