// Signals under one another over one time axis: a band from the least to the greatest value of each column, the mean as a line;
// of a signal of whole numbers the greatest, since a state between two states is none.

import uPlot from "../vendor/uPlot.esm.js";
import { h } from "./dom.js";
import { fixed, num } from "./format.js";

const HEIGHT = 128, NAMES = 16, TIMES = 18; // of a plot; of the names of events over the first, of the times under the last, px

// Times to collision run to infinity where nothing is near: their scale ends where it stops to matter.
const times = /^(e?ttc|thw)$/, CUT = 10;

// color reads what the style sheet says, so that charts follow the theme.
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Plots {
  constructor(box, on) {
    Object.assign(this, { box, on, plots: [], line: null, marks: [], key: "", at: null, ratio: devicePixelRatio });
    this.sync = uPlot.sync("timeline");
    this.size = new ResizeObserver(() => { if (this.plots.length && box.clientWidth !== this.width) { this.width = box.clientWidth; this.resize(); on.resized(); } });
    this.size.observe(box);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.themed = () => this.rebuild();
    this.theme.addEventListener("change", this.themed);
  }

  // show draws a timeline of the API with the function's events on it.
  show(line, marks) {
    const key = line.series.map((s) => s.ref).join();
    this.line = line;
    this.marks = marks;
    if (key !== this.key || !this.plots.length) { this.key = key; return this.rebuild(); }
    this.plots.forEach((p, i) => p.setData(this.data(line.series[i]), true));
    this.read();
  }

  rebuild() {
    this.plots.forEach((p) => p.destroy());
    this.plots = [];
    this.width = this.box.clientWidth;
    this.box.replaceChildren();
    if (!this.line) return;
    this.reads = [];
    this.line.series.forEach((s, i) => {
      const now = h("span", { class: "now" }), name = h("div", { class: "plot-name" }, h("strong", {}, `${s.table}.${s.name}`), h("span", { class: "muted" }, s.unit ? ` ${s.unit}` : "", times.test(s.name) && Math.max(...s.max.filter((v) => v !== null)) > CUT ? `, scale ends at ${CUT} s` : ""), now);
      const holder = h("div", { class: "plot", "data-signal": s.ref });
      this.box.append(name, holder);
      this.reads.push(now);
      this.plots.push(new uPlot(this.options(i, i === this.line.series.length - 1), this.data(s), holder));
    });
    if (this.at !== null) this.cursor(this.at);
  }

  data(s) { return [this.line.t_s, s.min, s.max, whole(s) ? s.max : s.mean]; }

  height(i) { return HEIGHT + (i === 0 ? NAMES - 6 : 0) + (i === this.line.series.length - 1 ? TIMES : 0); }

  options(i, last) {
    const steps = whole(this.line.series[i]) ? uPlot.paths.stepped({ align: 1 }) : undefined, edge = { stroke: "transparent", width: 0, points: { show: false }, paths: steps };
    const line = color(`--series-${(i % 4) + 1}`), grid = { stroke: color("--grid"), width: 1 }, axis = { stroke: color("--muted"), font: "11px " + color("--font"), grid, ticks: { ...grid, size: 4 } };
    return {
      width: this.width, height: this.height(i), legend: { show: false }, padding: [i === 0 ? NAMES : 6, 16, last ? 0 : 4, 0],
      scales: { x: { time: false, range: () => this.on.window() }, y: { range: (u, lo, hi) => (lo === null ? [0, 1] : times.test(this.line.series[i].name) ? [0, Math.min(Math.max(hi * 1.08, 1), CUT)] : span(lo, hi)) } },
      series: [{}, edge, edge, { stroke: line, width: 1.5, points: { show: false }, paths: steps }],
      bands: [{ series: [2, 1], fill: fade(line, 0.28) }],
      axes: [{ ...axis, show: true, size: last ? 28 : 6, values: last ? (u, ticks) => ticks.map((t) => `${+t.toFixed(2)} s`) : () => [] }, { ...axis, size: 56, values: (u, ticks) => ticks.map((t) => num(t)) }],
      cursor: {
        sync: { key: "timeline", setSeries: false }, y: false, drag: { x: true, y: false, setScale: false, dist: 4 },
        points: { show: (u, n) => n === 3 && undefined, size: 6, fill: line }, bind: { mousedown: (u, t, handle) => (e) => (e.shiftKey ? this.pan(u, e) : handle(e)), dblclick: () => () => this.on.range(0, this.on.limit()) },
      },
      hooks: {
        drawClear: [(u) => this.shade(u)],
        draw: i === 0 ? [(u) => this.names(u)] : [],
        setSelect: [(u) => { if (u.select.width > 3) { const a = u.posToVal(u.select.left, "x"), b = u.posToVal(u.select.left + u.select.width, "x"); u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false); this.on.range(a, b); } }],
        setCursor: [(u) => { if (u === this.plots[0] && u.cursor.idx !== null && u.cursor.event) { this.at = u.posToVal(u.cursor.left, "x"); this.read(); this.on.moved(this.at); } else if (u === this.plots[0]) this.read(); }],
      },
    };
  }

  // visible clips to the plot and what stands over it, and calls mark with each of the function's events in the window, and the places of times.
  visible(u, mark) {
    const { ctx } = u, { left, top, width, height } = u.bbox, [a, b] = this.on.window();
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top - NAMES * devicePixelRatio, width, height + NAMES * devicePixelRatio);
    ctx.clip();
    for (const e of this.marks) if (e.to >= a && e.from <= b) mark(ctx, e, (t) => u.valToPos(t, "x", true));
    ctx.restore();
  }

  // shade marks the events behind the signals: from the first tick to the last, a dashed line where the warning begins, a
  // full one where braking does.
  shade(u) {
    const { top, height } = u.bbox, r = devicePixelRatio;
    this.visible(u, (ctx, e, px) => {
      const x = px(e.from);
      ctx.fillStyle = fade(color(e.stage >= 2 ? "--bad" : "--warn"), 0.12);
      ctx.fillRect(x, top, Math.max(2, px(e.to) - x), height);
      ctx.lineWidth = r;
      for (const m of moments(e)) {
        ctx.strokeStyle = color(m.braking ? "--bad" : "--warn");
        ctx.setLineDash(m.braking ? [] : [4 * r, 3 * r]);
        ctx.beginPath();
        ctx.moveTo(px(m.t), top);
        ctx.lineTo(px(m.t), top + height);
        ctx.stroke();
      }
    });
  }

  // names says what the lines are, above the first plot: a hollow triangle for a warning, a full one for braking. The warning's
  // name gives way where braking begins too soon behind it to leave room.
  names(u) {
    const { left, width } = u.bbox, r = devicePixelRatio, top = u.bbox.top - 13 * r;
    this.visible(u, (ctx, e, px) => {
      ctx.font = `${11 * r}px ${color("--font")}`;
      ctx.textBaseline = "top";
      const all = moments(e);
      all.forEach((m, n) => {
        const x = px(m.t), text = m.braking ? `AEB brake ${fixed(m.t, 1)} s` : `AEB warn ${fixed(m.t, 1)} s`, wide = ctx.measureText(text).width + 14 * r;
        ctx.strokeStyle = ctx.fillStyle = color(m.braking ? "--bad" : "--warn");
        ctx.lineWidth = 1.5 * r;
        ctx.setLineDash([]);
        ctx.beginPath();
        ctx.moveTo(x - 4 * r, top + r);
        ctx.lineTo(x + 4 * r, top + r);
        ctx.lineTo(x, top + 8 * r);
        ctx.closePath();
        if (m.braking) ctx.fill(); else ctx.stroke();
        const next = all[n + 1], fits = x + wide < left + width;
        if (next && px(next.t) - x < wide) return;
        ctx.textAlign = fits ? "left" : "right";
        ctx.fillText(text, x + (fits ? 7 : -7) * r, top);
      });
    });
  }

  pan(u, e) {
    e.preventDefault();
    const [a, b] = this.on.window(), per = (b - a) / u.over.clientWidth, from = e.clientX;
    let to = from;
    const move = (m) => { to = m.clientX; };
    const up = () => { removeEventListener("mousemove", move); removeEventListener("mouseup", up); this.on.range(a - (to - from) * per, b - (to - from) * per); };
    addEventListener("mousemove", move);
    addEventListener("mouseup", up);
  }

  // cursor puts the cursor at a time; values are read there.
  cursor(t) {
    this.at = t;
    for (const p of this.plots) p.setCursor({ left: p.valToPos(t, "x"), top: 10 }, false);
    this.read();
  }

  index(t) {
    const { t_s, column_s } = this.line;
    return Math.max(0, Math.min(t_s.length - 1, Math.floor((t - t_s[0]) / column_s)));
  }

  read() {
    if (this.at === null || !this.line) return;
    const i = this.index(this.at);
    this.line.series.forEach((s, n) => { if (this.reads[n]) this.reads[n].textContent = value(s, i); });
  }

  // text is what the cursor stands on, in words.
  text(t) {
    if (!this.line) return `${fixed(t, 2)} s`;
    const i = this.index(t), mark = this.marks.find((e) => t >= e.from && t <= e.to);
    return `${fixed(t, 2)} s: ` + this.line.series.map((s) => `${s.table}.${s.name} ${value(s, i)} ${s.unit}`.trim()).join(", ") + (mark ? ", during an AEB event" : "");
  }

  resize() { this.plots.forEach((p, i) => p.setSize({ width: this.width, height: this.height(i) })); }

  close() {
    this.size.disconnect();
    this.theme.removeEventListener("change", this.themed);
    this.plots.forEach((p) => p.destroy());
    this.plots = [];
  }
}

// moments are the times of an event that have a name: where the warning begins, and braking.
function moments(e) {
  const warn = { t: e.from, braking: false }, brake = { t: e.brake ?? e.from, braking: true };
  return e.stage < 2 ? [warn] : brake.t > warn.t ? [warn, brake] : [brake];
}

// value is a column's mean, with its extremes where they are told apart; there is no mean of states.
function value(s, i) {
  if (s.mean[i] === null) return "no sample";
  if (whole(s) && s.min[i] !== s.max[i]) return `${num(s.min[i])} to ${num(s.max[i])}`;
  return num(s.min[i]) === num(s.max[i]) ? num(s.mean[i]) : `${num(s.mean[i])} (${num(s.min[i])} to ${num(s.max[i])})`;
}

// whole says whether a signal has whole numbers only, and few: states, slots, flags, which do not pass through what is between.
const whole = (s) => s.min.every((v, i) => v === null || (Number.isInteger(v) && Number.isInteger(s.max[i]) && Math.abs(v) < 100));

// span leaves a little room above and below, and makes a line of equal values visible.
function span(lo, hi) {
  const room = (hi - lo) * 0.08 || Math.abs(hi) * 0.1 || 1;
  return [lo >= 0 && lo - room < 0 ? 0 : lo - room, hi + room];
}

// fade gives a hexadecimal colour an opacity.
const fade = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
