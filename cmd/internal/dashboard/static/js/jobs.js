// Jobs: one recording through one pipeline each; retry and cancel, for one or for everything that matches.

import { h } from "./dom.js";
import { age, brief, count, plural } from "./format.js";
import { post } from "./api.js";
import { choice, empty, recordingHref, search, state } from "./parts.js";
import { pages } from "./recordings.js";

const always = ["queued", "started", "finished", "failed", "cancelled"];
// what another configuration of the file left unfinished is named only where there is any
const statuses = (d) => (d.counts["left-behind"] ? [...always, "left-behind"] : always);
const busy = new Set();

function filters(ctx, d) {
  const current = ctx.query.get("status") ?? "";
  const to = (s) => { const q = new URLSearchParams(ctx.query); s ? q.set("status", s) : q.delete("status"); q.delete("offset"); return "?" + q; };
  const states = statuses(d), total = states.reduce((n, s) => n + (d.counts[s] ?? 0), 0);
  return [
    h("nav", { class: "tabs", "aria-label": "Jobs by state", "data-key": "states" }, h("ul", {}, [["", "all", total], ...states.map((s) => [s, s, d.counts[s] ?? 0])].map(([s, text, n]) =>
      h("li", { "data-key": text }, h("a", { href: to(s), "data-link": "", "data-query": "", "aria-current": s === current ? "page" : null }, text, " ", h("span", { class: "badge" + (s === "failed" && n ? " bad" : "") }, count(n))))))),
    h("form", { class: "filters", role: "search", "aria-label": "Jobs", onsubmit: (e) => e.preventDefault(), "data-key": "filters" },
      search(ctx, "search", "Search", "recording, job or error"),
      choice(ctx, "pipeline", "Pipeline", [["", "any"], ...(ctx.shell?.pipelines ?? []).map((p) => [p.name, p.name])]),
      h("p", { class: "hits" }, `${count(d.matching)} of ${plural(d.total, "job")}`), bulk(ctx, d))];
}

function bulk(ctx, d) {
  return h("div", { class: "row", "data-key": "bulk" },
    h("button", { type: "button", disabled: d.resumable === 0, onclick: () => many(ctx, "resume", d.resumable) }, `Retry all failed (${count(d.resumable)})`),
    h("button", { type: "button", disabled: d.cancellable === 0, onclick: () => many(ctx, "cancel", d.cancellable) }, `Cancel… (${count(d.cancellable)})`));
}

const filter = (ctx) => Object.fromEntries(["pipeline", "status", "search"].map((k) => [k, ctx.query.get(k)]).filter(([, v]) => v));

async function many(ctx, verb, n) {
  const text = verb === "resume" ? "Each goes on at the input that halted it. Results stay the same, nothing is counted twice."
    : "Cancelled jobs keep what they have stored and do not go on.";
  const title = `${verb === "resume" ? "Retry" : "Cancel"} ${plural(n, "job")}?`;
  if (!await ctx.ask({ title, text, yes: title.slice(0, -1), danger: verb === "cancel" })) return;
  try {
    const op = await post(`/api/v1/jobs/${verb}`, { filter: filter(ctx), all: true });
    ctx.alert(`${verb === "resume" ? "Retrying" : "Cancelling"} ${plural(op.total, "job")}`);
  } catch (e) { ctx.alert(e); }
}

async function one(ctx, verb, j) {
  if (verb === "cancel" && !await ctx.ask({ title: `Cancel the job of ${j.recording}?`, text: "It keeps what it has stored and does not go on.", yes: "Cancel 1 job", danger: true })) return;
  busy.add(j.id);
  ctx.redraw();
  try { await post(`/api/v1/jobs/${j.id}/${verb}`); } catch (e) { ctx.alert(e); }
  busy.delete(j.id);
  ctx.redraw();
}

function row(ctx, j) {
  const act = (verb, text) => h("button", { type: "button", class: "small", disabled: busy.has(j.id), "aria-label": `${text} ${j.recording} in ${j.pipeline}`, onclick: () => one(ctx, verb, j) }, text);
  return h("tr", { "data-key": j.pipeline + j.id },
    h("td", { class: "wide" }, h("code", {}, j.id)), h("td", { class: "wide" }, j.pipeline),
    h("th", { scope: "row" }, h("small", { class: "narrow" }, j.pipeline), h("a", { href: recordingHref(j.home, j.recording), "data-link": "" }, j.recording), j.error && h("p", { class: "why" }, j.stage ? `${j.stage}: ` : "", brief(j.error, j.recording))),
    h("td", {}, state(j.status), j.status === "left-behind" && h("small", {}, "made with another configuration: nobody works on it")), h("td", { class: "n wide" }, j.resumed ? `${j.resumed}×` : "–"), h("td", { class: "n wide" }, age(j.queued)),
    h("td", { class: "act" }, j.resumable && act("resume", "Retry"), j.cancellable && act("cancel", "Cancel")));
}

function table(ctx, d) {
  if (d.total === 0) return empty("No jobs yet", "A job is one recording through one pipeline. ", h("code", {}, "milepost run"), " makes one for each recording.");
  if (d.matching === 0) return empty("No job matches", h("button", { type: "button", onclick: () => ctx.setQuery({ search: null, status: null, pipeline: null }) }, "Clear the filters"));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Jobs", "data-key": "table" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "wide" }, "Job"), h("th", { scope: "col", class: "wide" }, "Pipeline"), h("th", { scope: "col" }, "Recording"), h("th", { scope: "col" }, "State"),
      h("th", { scope: "col", class: "n wide" }, "Retried"), h("th", { scope: "col", class: "n wide" }, "Age"), h("th", { scope: "col" }, h("span", { class: "quiet" }, "Actions")))),
    h("tbody", {}, d.jobs.map((j) => row(ctx, j)))));
}

export default {
  title: () => "Jobs",
  stream: () => ({ page: "jobs" }),
  ready: (ctx) => !!ctx.data.jobs,
  summary(ctx) {
    const c = ctx.data.jobs?.counts;
    return c && statuses(ctx.data.jobs).filter((s) => c[s]).map((s) => `${c[s]} ${s}`).join(", ");
  },
  draw(ctx) {
    const d = ctx.data.jobs;
    return [filters(ctx, d), table(ctx, d), pages(ctx, d, d.jobs)];
  },
};
