// One candidate: what it is, what every block costs, where it comes from, what it could be instead.

import { fileOf, frozen, get } from "./data.js";
import { drawing, facts, h, nothing, replace, section, table } from "./dom.js";
import { bytes, count, digits, metricName, metricValue, ms, percent, si } from "./format.js";
import { runLink } from "./runs.js";
import { candidateRef } from "./scatter.js";

const METRICS = ["score", "latency_ms", "latency_upper_ms", "params", "macs", "depth", "peak_memory_bytes"];

export async function candidateView(page, name, id) {
  const c = await get(`runs/${encodeURIComponent(name)}/candidates/${id}`);
  const row = c.row;
  replace(page,
    h("header", {}, h("p", { class: "crumb" }, h("a", { href: "#/" }, "Runs"), " / ", h("a", { href: runLink(name) }, name), ` / candidate ${id}`),
      h("h1", {}, `Candidate ${id}`, " ", c.winner ? h("span", { class: "state kept" }, "winner") : h("span", { class: "state" }, row.outcome)),
      row.reason ? h("p", { class: "problem" }, row.reason) : null,
      facts(METRICS.filter((m) => row[m] !== null).map((m) => [metricName(m), metricValue(m, row[m])]))),
    c.found ? measuredPart(c.found) : null,
    section("Architecture", network(c.architecture)),
    section("Cost of every block", waterfall(c.architecture.blocks)),
    section("What it could be instead", counterfactuals(c, name)),
    section("Where it comes from", lineage(c.lineage, name, row)),
    section("Downloads", downloads(c, name)));
}

const measuredPart = (f) => section("Measured and raced", facts([
  f.measured && ["measured", ms(f.measured.latency_ms), `${digits(f.measured.low_ms)} to ${digits(f.measured.high_ms)} ms, ${f.within ? "within" : "not within"} the budget`],
  f.top1 !== null && ["validation top-1", percent(f.top1), f.epochs ? `after ${f.epochs} epochs` : null],
  f.raced && ["race", f.winner ? "won" : f.failure ? "failed" : f.stopped_early ? "fell out early" : "to the end"],
]));

export function network(a) {
  const structure = h("details", {}, h("summary", {}, "Structure as text"), h("pre", { tabindex: "0" }, a.structure));
  if (!a.svg) return [nothing("The run file does not say how large its images are."), structure];
  return [h("div", { class: "wide" }, drawing(a.svg.wide)), h("div", { class: "narrow" }, drawing(a.svg.narrow)), structure];
}

// Latency accumulates from block to block; the other columns are bars of their own.
export function waterfall(blocks) {
  if (!blocks.length) return nothing("Unknown, as the run file does not say how large its images are.");
  const sum = (key) => blocks.reduce((total, b) => total + (b[key] || 0), 0);
  const total = sum("latency_ms"), most = (key) => Math.max(1e-12, ...blocks.map((b) => b[key] || 0));
  let before = 0;
  const starts = blocks.map((b) => { const at = before; before += Math.max(0, b.latency_ms || 0); return at; });
  const bar = (value, whole, show, left = 0, kind = "quiet") => h("div", { class: "cell" }, h("span", {}, show(value)),
    value === null ? null : h("i", { class: `cell-bar ${kind}`, "width%": 100 * Math.max(0, value) / whole, "left%": 100 * left / whole, "aria-hidden": "true" }));
  const columns = [
    { title: "block", cell: (b) => (b.at < blocks.length ? `${b.at} ${b.name}` : b.name) },
    { title: "choices", cell: (b) => h("div", { class: "choices" }, b.detail) },
    { title: "output", cell: (b) => b.shape.join("×") },
    total > 0 && { title: `latency, Σ ${ms(total)}`, cell: (b) => bar(b.latency_ms, total, ms, starts[b.at - 1], "") },
    { title: `parameters, Σ ${si(sum("params"))}`, cell: (b) => bar(b.params, most("params"), si) },
    { title: `MACs, Σ ${si(sum("macs"))}`, cell: (b) => bar(b.macs, most("macs"), si) },
    blocks.some((b) => b.entropy !== null) && { title: `entropy, Σ ${digits(sum("entropy"))} nats`, cell: (b) => bar(b.entropy, most("entropy"), digits) },
    { title: "peak memory", cell: (b) => bar(b.peak_memory_bytes, most("peak_memory_bytes"), bytes) },
  ].filter(Boolean);
  return table(columns, blocks.map((b, i) => ({ ...b, at: i + 1 })), { caption: "Each block, and the classifier with what belongs to no block" });
}

function counterfactuals(c, name) {
  const row = c.row, b = c.betters, parts = [];
  const cost = row.latency_ms !== null ? "latency_ms" : "macs";
  const gap = (other, key) => {
    const by = other[key] - row[key];
    return key === "score" ? `${by >= 0 ? "+" : "−"}${digits(Math.abs(by))}` : `${by >= 0 ? "+" : "−"}${percent(Math.abs(by) / row[key])}`;
  };
  const words = { better: "best score at no higher cost", faster: "cheapest with no lower score", next: "next that scores more" };
  const inRun = Object.entries(words).filter(([key]) => b[key]).map(([key, text]) => h("li", {}, `${text}: `, candidateRef(name, b[key].id, `candidate ${b[key].id}`),
    row.score === null ? `, score ${metricValue("score", b[key].score)}` : `, score ${gap(b[key], "score")}, ${metricName(cost).replace(", ms", "")} ${gap(b[key], cost)}`));
  parts.push(h("h3", {}, "In this run"), inRun.length ? h("ul", {}, inRun) : nothing("Nothing in this run beats it."));
  parts.push(h("h3", {}, "By one change of the design"));
  const x = c.changes;
  if (x.note) return [...parts, nothing(x.note)];
  const kinds = { better: "higher score within the limits", faster: "cheaper, no lower score", over: "higher score, over a limit" };
  const both = new Set(x.better.map((m) => m.change).filter((change) => x.faster.some((m) => m.change === change)));
  const rows = Object.entries(kinds).flatMap(([key, text]) => x[key].filter((m) => key !== "faster" || !both.has(m.change))
    .map((m) => ({ ...m, kind: both.has(m.change) ? "higher score and cheaper" : text })));
  const columns = [
    { title: "change", cell: (m) => h("div", { class: "words" }, m.change) }, { title: "what it gives", cell: (m) => h("div", { class: "words" }, m.kind) },
    { title: "score", num: true, cell: (m) => (row.score === null ? metricValue("score", m.score) : gap(m, "score")) },
    { title: metricName(cost).replace(", ms", ""), num: true, cell: (m) => (m[cost] === undefined ? "–" : gap(m, cost)) },
    { title: "parameters", num: true, cell: (m) => gap(m, "params") },
    { title: "limits", cell: (m) => h("div", { class: "choices" }, m.over.length ? m.over.map((o) => `${metricName(o.metric).replace(", ms", "")} ${percent(o.by)} over`).join(", ") : "kept") },
  ];
  return [...parts, rows.length ? table(columns, rows, { caption: `Of ${count(x.tried)} mutations, costs and score in closed form; not trained` }) : nothing(`None of ${count(x.tried)} mutations scores more or costs less.`)];
}

function lineage(l, name, row) {
  const item = (r) => h("li", {}, candidateRef(name, r.id), ` ${r.score === null ? r.outcome : `score ${metricValue("score", r.score)}`}`);
  const chain = [...l.ancestors].reverse();
  return [
    l.ancestors.length ? [h("h3", {}, "Ancestors, oldest first"), l.whole ? null : h("p", { class: "note" }, `the nearest ${l.ancestors.length}`),
      h("ol", { class: "chain" }, chain.map(item), h("li", { "aria-current": "true" }, `${row.id}`))] : nothing("A random sample: it has no parent."),
    h("h3", {}, `Mutated from it: ${count(l.children_count)}`), l.children.length ? h("ol", { class: "chain" }, l.children.map(item)) : null,
  ];
}

function downloads(c, name) {
  const text = JSON.stringify(c.architecture.spec, null, 1);
  const spec = h("a", { href: `data:application/json;charset=utf-8,${encodeURIComponent(text)}`, download: `${name}-${c.id}.json` }, "specification (JSON)");
  const files = c.downloads.map((f) => h("li", {}, frozen ? f.path : h("a", { href: fileOf(name, f.path), download: "" }, f.path), ` ${bytes(f.bytes)}`));
  return [h("ul", {}, h("li", {}, spec), files), c.winner || !c.row.score ? null : h("p", { class: "note" }, `trained files are made of the winner; of this one: netwright train RUN:${c.id}`)];
}
