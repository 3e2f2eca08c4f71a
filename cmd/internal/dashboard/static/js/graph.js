// The graph of a pipeline as SVG: left to right where there is room, else top to bottom.

import { s } from "./dom.js";
import { rate, count } from "./format.js";

const W = 178, H = 66, GAPX = 84, GAPY = 26;

// states have a shape besides their colour and word.
export const shapes = {
  running: () => s("path", { d: "M2 1l7 4-7 4z" }),
  done: () => s("path", { d: "M1.5 5.5l2.5 2.5 5-6", class: "line" }),
  idle: () => s("circle", { cx: 5, cy: 5, r: 3.5, class: "line" }),
  retrying: () => s("path", { d: "M8.5 5a3.5 3.5 0 1 1-1.2-2.6M8.8 .8v2.4H6.4", class: "line" }),
  attention: () => s("path", { d: "M5 .5l4.7 8.8H.3z" }),
  failed: () => s("path", { d: "M1.5 1.5l7 7m0-7l-7 7", class: "line" }),
  waiting: () => s("path", { d: "M3 1.5v7M7 1.5v7", class: "line" }),
  queued: () => s("path", { d: "M1 2h8M1 5h8M1 8h8", class: "line" }),
  cancelled: () => s("path", { d: "M1.5 8.5l7-7M5 .8a4.2 4.2 0 1 1 0 8.4a4.2 4.2 0 1 1 0-8.4", class: "line" }),
  skipped: () => s("path", { d: "M1 5h7M5 2l3 3-3 3", class: "line" }),
};
shapes.started = shapes.running;
shapes.finished = shapes.done;
shapes.expired = shapes.cancelled;
shapes.open = shapes.full = shapes.attention;
shapes.resumed = shapes.redriven = shapes.done;
shapes["left-behind"] = shapes.outdated = shapes.superseded = shapes.skipped;
shapes.interrupted = shapes.waiting;

export const glyph = (state, at) => s("svg", { class: "glyph " + state, viewBox: "0 0 10 10", width: 10, height: 10, "aria-hidden": "true", focusable: "false", ...at }, (shapes[state] ?? shapes.idle)());

// stages lists what is drawn: the pipeline's own stages and those of other pipelines that read them; and, per stage, its sinks.
function layout(pipeline, all) {
  const own = pipeline.nodes.filter((n) => n.role !== "sink");
  const others = all.filter((p) => p.name !== pipeline.name).flatMap((p) => p.nodes.filter((n) => n.role !== "sink"));
  const key = (n) => n.pipeline + "/" + n.stage;
  const shown = new Map(own.map((n) => [key(n), n]));
  for (const n of others) if (n.inputs.some((i) => own.some((o) => key(o) === i))) shown.set(key(n), n);
  const sinks = new Map();
  for (const n of pipeline.nodes) if (n.role === "sink") for (const i of n.inputs) sinks.set(i, [...(sinks.get(i) ?? []), n]);
  const depth = new Map(), row = new Map(), used = [];
  for (const [k, n] of shown) {
    const d = Math.max(-1, ...n.inputs.map((i) => depth.get(i) ?? -1)) + 1;
    const from = Math.min(...n.inputs.map((i) => row.get(i) ?? 0), Infinity);
    used[d] ??= new Set();
    let r = from === Infinity ? 0 : from;
    while (used[d].has(r)) r++;
    used[d].add(r);
    depth.set(k, d);
    row.set(k, r);
  }
  return { shown, sinks, depth, row };
}

// graph draws it; select(node) makes the address that opens a stage.
export function graph(pipeline, all, { width, selected, href }) {
  const { shown, sinks, depth, row } = layout(pipeline, all);
  const columns = Math.max(...depth.values()) + 1, rows = Math.max(...row.values()) + 1;
  const sinkWidth = sinks.size ? 92 : 0;
  const across = columns * W + (columns - 1) * GAPX + sinkWidth <= width;
  const gap = across ? Math.min(150, GAPX + Math.max(0, (width - 4 - sinkWidth - columns * W - (columns - 1) * GAPX) / Math.max(1, columns - 1))) : 0;
  const indent = 22, tall = 46; // top to bottom
  const order = across ? [] : walk(shown, row);
  const at = (k) => across
    ? { x: 1 + depth.get(k) * (W + gap), y: 1 + row.get(k) * (H + GAPY) }
    : { x: 1 + row.get(k) * indent, y: 1 + order.indexOf(k) * (H + tall) };
  const w = across ? width : Math.min(width, W + 2 + (rows - 1) * indent + sinkWidth + 20);
  const height = across ? rows * (H + GAPY) - GAPY + 2 : order.length * (H + tall) - tall + 2;
  const parts = [];
  for (const [k, n] of shown) for (const i of n.inputs) if (shown.has(i)) parts.push(edge(at(i), at(k), shown.get(i), n, across));
  for (const [k, list] of sinks) if (shown.has(k)) parts.push(outlets(at(k), list, across && [...shown].some(([c, n]) => n.inputs.includes(k) && at(c).y === at(k).y)));
  for (const [k, n] of shown) parts.push(box(at(k), n, pipeline.name, selected === k, href(n)));
  return s("svg", { class: "graph", viewBox: `0 0 ${w} ${height}`, width: w, height, role: "group", "aria-label": `Graph of ${pipeline.name}` }, parts);
}

// walk orders the stages top to bottom: what branches off stands, indented, right below where it does, so that the line that
// goes on passes it.
function walk(shown, row) {
  const order = [];
  const visit = (k) => {
    if (order.includes(k)) return;
    order.push(k);
    [...shown].filter(([, n]) => n.inputs.includes(k)).map(([c]) => c).sort((x, y) => row.get(y) - row.get(x)).forEach(visit);
  };
  for (const k of shown.keys()) visit(k);
  return order;
}

function edge(a, b, from, to, across) {
  const x1 = across ? a.x + W : a.x + 14, y1 = across ? a.y + H / 2 : a.y + H;
  const x2 = across ? b.x : b.x + 14, y2 = across ? b.y + H / 2 : b.y;
  const straight = across ? y1 === y2 : x1 === x2;
  const d = straight ? `M${x1} ${y1}L${x2 - (across ? 1 : 0)} ${y2 - (across ? 0 : 1)}`
    : across ? `M${a.x + W - 24} ${a.y + H}V${y2 - 8}q0 8 8 8H${x2 - 1}` : `M${x1} ${y1}V${y2 - 22}q0 8 8 8H${x2 - 8}q8 0 8 8V${y2 - 1}`;
  const head = across ? `M${x2 - 7} ${y2 - 4}l7 4-7 4` : `M${x2 - 4} ${y2 - 7}l4 7 4-7`;
  const label = across ? (straight ? { x: (x1 + x2) / 2 - 2, y: y1 - 7, "text-anchor": "middle" } : { x: a.x + W + 2, y: y2 - 6, "text-anchor": "start" })
    : { x: x2 + 14, y: y2 - 18, "text-anchor": "start" };
  return s("g", { class: "edge" + (to.in_per_s > 0 ? " moving" : ""), "aria-hidden": "true" }, s("path", { d }), s("path", { d: head }),
    s("text", label, rate(to.in_per_s)), to.lag > 0 && s("text", { ...label, y: label.y + (across && straight ? 20 : across ? 18 : 13), class: "lag" }, `lag ${count(to.lag)}`));
}

// outlets names a stage's sinks at its right, or above the line that goes on from there.
function outlets(a, list, line) {
  const names = list.map((n) => n.stage.split("@")[0]), text = (y, t) => s("text", { x: a.x + W + (line ? 5 : 10), y }, "→ " + t);
  if (line) return s("g", { class: "sinks", "aria-hidden": "true" }, text(a.y + 10, clip(names.join(", "), 14)));
  return s("g", { class: "sinks", "aria-hidden": "true" }, names.map((t, i) => text(a.y + H / 2 + (i - (list.length - 1) / 2) * 18 + 4, t)));
}

function box(a, n, home, selected, href) {
  const name = n.pipeline === home ? n.stage : `${n.pipeline}/${n.stage}`;
  const type = n.uses.split("/").pop();
  const foot = n.dead_letters > 0 ? `DLQ ${n.dead_letters}` : n.errors > 0 ? `${count(n.errors)} errors` : n.out > 0 ? `${count(n.out)} out` : "";
  const label = `${name}, ${n.uses}, ${n.state}, ${rate(n.out_per_s)} out, lag ${n.lag}, ${n.dead_letters} in the DLQ`;
  return s("a", { href, "data-link": "", "data-query": "", class: "node " + n.state, "aria-label": label, "aria-current": selected ? "true" : null, "data-key": n.pipeline + "/" + n.stage },
    s("rect", { x: a.x, y: a.y, width: W - 2, height: H - 2, rx: 5 }),
    s("text", { class: "name", x: a.x + 12, y: a.y + 22 }, clip(name, 19)),
    n.parallelism > 1 && s("text", { class: "sub", x: a.x + W - 14, y: a.y + 22, "text-anchor": "end" }, `×${n.parallelism}`),
    s("text", { class: "sub", x: a.x + 12, y: a.y + 38 }, clip(type, 24)),
    s("g", { transform: `translate(${a.x + 12} ${a.y + 47})` }, s("g", { class: "glyph " + n.state }, (shapes[n.state] ?? shapes.idle)())),
    s("text", { class: "state", x: a.x + 27, y: a.y + 56 }, n.state),
    s("text", { class: "sub", x: a.x + W - 14, y: a.y + 56, "text-anchor": "end" }, foot));
}

const clip = (t, n) => (t.length > n ? t.slice(0, n - 1) + "…" : t);
