// The DLQ: inputs that were given up, what they held, and sending them back.

import { h } from "./dom.js";
import { age, brief, count, plural, timeOfDay } from "./format.js";
import { get, post } from "./api.js";
import { choice, empty, progress, recordingHref, search, state } from "./parts.js";
import { pages } from "./recordings.js";

const ages = [["", "any"], ["5m", "5 minutes"], ["1h", "1 hour"], ["24h", "1 day"]];

function filters(ctx, d) {
  return h("form", { class: "filters", role: "search", "aria-label": "Dead letters", onsubmit: (e) => e.preventDefault(), "data-key": "filters" },
    choice(ctx, "pipeline", "Pipeline", [["", "any"], ...(ctx.shell?.pipelines ?? []).map((p) => [p.name, p.name])], { stage: null }),
    choice(ctx, "stage", "Stage", [["", "any"], ...d.stages.map((s) => [s, s])]),
    choice(ctx, "state", "State", [["", "open"], ["all", "all"], ...["resumed", "skipped", "redriven", "superseded", "cancelled", "outdated"].map((s) => [s, s])]),
    search(ctx, "error", "Error contains", "timeout"),
    search(ctx, "recording", "Recording contains", "drive"),
    choice(ctx, "older_than", "Older than", ages),
    h("p", { class: "hits" }, `${count(d.matching)} of ${plural(d.total, "dead letter")}`),
    h("button", { type: "button", class: "primary", disabled: d.redrivable === 0, onclick: () => many(ctx, d) }, `Redrive all matching (${count(d.redrivable)})`),
    h("button", { type: "button", disabled: d.purgeable === 0, onclick: () => purge(ctx) }, `Remove all matching (${count(d.purgeable)})`));
}

const filter = (ctx) => Object.fromEntries(["pipeline", "stage", "state", "error", "recording", "older_than", "newer_than"].map((k) => [k, ctx.query.get(k)]).filter(([, v]) => v));

async function many(ctx, d) {
  try {
    const plan = await post("/api/v1/dlq/redrive", { filter: filter(ctx), dry_run: true });
    const title = `Redrive ${plural(plan.total, "event")}?`;
    const text = [`${plural(plan.total, "dead letter")} of ${count(d.matching)} matching go back to ${plan.stages.join(", ")}.`,
      "Attempts restart; ids and trace are kept. A halted job goes on where it stopped; a skipped input starts its job anew."];
    if (plan.superseded) text.push(`${plural(plan.superseded, "dead letter")} more are passed over: a job that is started anew takes their inputs too.`);
    if (!await ctx.ask({ title, text, yes: title.slice(0, -1) })) return;
    await post("/api/v1/dlq/redrive", { filter: filter(ctx) });
  } catch (e) { ctx.alert(e); }
}

// purge removes what the list shows: without a state that is open and skipped letters, and of open jobs none can be removed.
async function purge(ctx) {
  const what = { ...filter(ctx), state: ctx.query.get("state") || "skipped" };
  try {
    const plan = await post("/api/v1/dlq/purge", { filter: what, dry_run: true });
    const title = `Remove ${plural(plan.total, "dead letter")}?`;
    const text = [`${plural(plan.total, "dead letter")} of ${plan.stages.join(", ")}, and the inputs they hold, are removed for good.`, "Those of jobs that are not over stay."];
    if (!await ctx.ask({ title, text, yes: title.slice(0, -1) })) return;
    await post("/api/v1/dlq/purge", { filter: what });
  } catch (e) { ctx.alert(e); }
}

async function one(ctx, l) {
  if (!await ctx.ask({ title: "Redrive 1 event?", text: `${l.id} goes back to ${l.pipeline}/${l.stage}; attempts restart, id and trace are kept.`, yes: "Redrive 1 event" })) return;
  try { await post("/api/v1/dlq/redrive", { filter: { pipeline: l.pipeline, ids: [l.id], state: "all" } }); } catch (e) { ctx.alert(e); }
}

function operations(ctx, list) {
  const open = list.filter((o) => o.state === "running" || Date.now() - Date.parse(o.ended) < 60000);
  return open.length > 0 && h("section", { "aria-label": "Bulk actions", "data-key": "operations" }, open.map((o) => h("div", { class: "notice row", "data-key": o.id },
    h("strong", {}, o.kind === "redrive" ? "Redrive" : o.kind === "purge" ? "Remove" : o.kind === "resume" ? "Retry" : "Cancel"),
    progress(o.total ? o.done / o.total : 1, `${o.kind} progress`), h("span", {}, `${count(o.done)} of ${count(o.total)}`, o.failed ? `, ${count(o.failed)} refused` : "", o.state === "running" ? "" : `, ${o.state}`),
    o.errors.length > 0 && h("span", { class: "muted" }, o.errors[0]),
    o.state === "running" && h("button", { type: "button", class: "small", onclick: () => post(`/api/v1/operations/${o.id}/cancel`).catch(ctx.alert) }, "Stop"))));
}

// open loads the payload of a letter the first time it is looked at.
function open(ctx, l) {
  const key = l.pipeline + "/" + l.id;
  if (ctx.ui[key]) { ctx.ui[key] = null; return ctx.redraw(); }
  ctx.ui[key] = { loading: true };
  ctx.redraw();
  get(`/api/v1/dlq/${encodeURIComponent(l.pipeline)}/${encodeURIComponent(l.id)}`).then((full) => { ctx.ui[key] = { full }; ctx.redraw(); }, (e) => { ctx.ui[key] = { error: e.message }; ctx.redraw(); });
}

function payload(ctx, l, u) {
  if (u.loading) return h("p", { class: "muted" }, "Loading…");
  if (u.error) return h("p", { class: "warn-text" }, u.error);
  const f = u.full, raw = JSON.stringify(f.event ?? null, null, 2);
  const mode = (m, text) => h("button", { type: "button", class: "small", "aria-pressed": String((u.mode ?? "tree") === m), onclick: () => { u.mode = m; ctx.redraw(); } }, text);
  return h("div", { class: "payload" }, l.error.includes("\n") && h("p", { class: "lines" }, l.error),
    f.damage && h("p", { class: "muted" }, f.damage),
    h("dl", { class: "pairs" }, pair("attempts", count(l.attempts)), pair("first seen", timeOfDay(l.first)), pair("last", timeOfDay(l.last)), pair("job", h("code", {}, l.job)),
      f.event && pair("event id", h("code", {}, f.event.id)), f.trace && pair("trace", h("code", {}, f.trace)), pair("permanent", l.permanent ? "yes: tried again only after a redrive" : "no")),
    h("div", { class: "row" }, mode("tree", "Tree"), mode("raw", "Raw"), h("span", { class: "grow" }),
      h("button", { type: "button", class: "small", onclick: () => copy(ctx, l.id) }, "Copy id"), h("button", { type: "button", class: "small", onclick: () => copy(ctx, raw) }, "Copy event"),
      h("a", { class: "button small", href: recordingHref(l.home, l.recording, f.at_s === null ? "" : `?at=${f.at_s}`), "data-link": "" }, "Open in timeline")),
    (u.mode ?? "tree") === "raw" ? h("pre", { tabindex: "0", role: "group", "aria-label": `Event of ${l.id}` }, raw.length > 40000 ? raw.slice(0, 40000) + "\n… shortened" : raw)
      : f.tables?.length ? f.tables.map(slice) : f.event === null ? h("p", { class: "muted" }, "A reader has no input event: it is the recording itself that could not be read further.") : h("div", { class: "tree" }, tree("event", f.documents?.length ? f.documents : f.event, 0)));
}

const pair = (k, v) => h("div", { "data-key": k }, h("dt", {}, k), h("dd", {}, v));

// slice shows the first rows of a table that the event carried.
const slice = (t) => h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `Table ${t.name}`, "data-key": t.name }, h("table", { class: "dense" },
  h("caption", {}, `${t.name}, ${plural(t.rows, "row")}${t.rows > t.head.length ? `, the first ${t.head.length}` : ""}`), h("thead", {}, h("tr", {}, t.columns.map((c) => h("th", { scope: "col", class: "n" }, c)))),
  h("tbody", {}, t.head.map((r) => h("tr", {}, r.map((v) => h("td", { class: "n" }, v === null ? "NaN" : String(v))))))));

function tree(name, v, depth) {
  if (v === null || typeof v !== "object") return h("div", { class: "leaf" }, h("span", { class: "k" }, name), " ", h("code", {}, JSON.stringify(v)));
  const entries = Object.entries(v);
  return h("details", { open: depth < 2, "data-key": name }, h("summary", {}, h("span", { class: "k" }, name), " ", h("span", { class: "muted" }, Array.isArray(v) ? `[${entries.length}]` : `{${entries.length}}`)),
    entries.slice(0, 200).map(([k, x]) => tree(k, x, depth + 1)));
}

function copy(ctx, text) {
  navigator.clipboard.writeText(text).then(() => ctx.alert("Copied"), () => ctx.alert(new Error("The browser did not allow copying")));
}

function row(ctx, l) {
  const u = ctx.ui[l.pipeline + "/" + l.id], id = "payload-" + l.id;
  return [h("tr", { "data-key": l.pipeline + "/" + l.id },
    h("th", { scope: "row" }, h("button", { type: "button", class: "plain disclose", "aria-expanded": String(!!u), "aria-controls": id, onclick: () => open(ctx, l) }, h("code", {}, l.id), h("span", { class: "quiet" }, " payload"))),
    h("td", { class: "wide" }, `${l.pipeline}/${l.stage}`),
    h("td", {}, h("a", { href: recordingHref(l.home, l.recording), "data-link": "" }, l.recording), h("p", { class: "why" }, brief(l.error, l.recording))),
    h("td", { class: "wide" }, state(l.state)), h("td", { class: "n wide" }, count(l.attempts)), h("td", { class: "n wide" }, age(l.last)),
    h("td", { class: "act" }, l.redrivable && h("button", { type: "button", class: "small", "aria-label": `Redrive ${l.id}`, onclick: () => one(ctx, l) }, "Redrive"))),
  u && h("tr", { class: "more", id, "data-key": id }, h("td", { colspan: 7 }, payload(ctx, l, u)))];
}

function table(ctx, d) {
  if (d.total === 0) return empty("The DLQ is empty", "An input that fails all its attempts is kept here with its error, until it is sent back.");
  if (d.matching === 0) return empty("No dead letter matches", h("button", { type: "button", onclick: () => ctx.setQuery({ stage: null, error: null, recording: null, older_than: null, pipeline: null, state: "all" }) }, "Show all"));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Dead letters", "data-key": "table" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "ID"), h("th", { scope: "col", class: "wide" }, "Stage"), h("th", { scope: "col" }, "Recording and error"), h("th", { scope: "col", class: "wide" }, "State"),
      h("th", { scope: "col", class: "n wide" }, "Attempts"), h("th", { scope: "col", class: "n wide" }, "Age"), h("th", { scope: "col" }, h("span", { class: "quiet" }, "Actions")))),
    h("tbody", {}, d.letters.map((l) => row(ctx, l)))));
}

export default {
  title: () => "Dead letters",
  stream: () => ({ page: "dlq" }),
  ready: (ctx) => !!ctx.data.dlq,
  summary(ctx) { const d = ctx.data.dlq; return d && `${d.matching} of ${d.total} dead letters, ${d.redrivable} can be redriven`; },
  draw(ctx) {
    const d = ctx.data.dlq;
    return [filters(ctx, d), operations(ctx, ctx.data.operations?.operations ?? []), table(ctx, d), pages(ctx, d, d.letters)];
  },
};
