// All candidates of a run, a page at a time.

import { get } from "./data.js";
import { h, nothing, replace, section, table } from "./dom.js";
import { count, metricName, metricValue } from "./format.js";
import { candidateRef } from "./scatter.js";

const METRICS = ["score", "latency_ms", "latency_upper_ms", "params", "macs", "depth"];
const PAGE = 50;

export function allCandidates(name) {
  const list = h("div", {}), told = h("p", { class: "note", role: "status" });
  const choice = (label, options) => h("label", {}, label, " ", h("select", { onchange: () => load(true) }, options.map(([value, text]) => h("option", { value }, text))));
  const outcome = choice("Show", [["", "all"], ["scored", "scored"], ["rejected", "rejected"], ["duplicate", "seen before"], ["failed", "failed"]]);
  const sort = choice("by", [["id", "order of the search"], ["score", "score"], ["latency_ms", "latency"], ["params", "parameters"], ["macs", "MACs"]]);
  const most = h("input", { type: "number", min: "0", step: "any", size: 8, "aria-label": "latency at most, ms", onchange: () => load(true) });
  const more = h("button", { type: "button", onclick: () => load(false) }, "More");
  let rows = [], next = null;
  const columns = [
    { title: "candidate", cell: (r) => candidateRef(name, r.id) },
    { title: "outcome", cell: (r) => h("span", { title: r.reason || null }, r.outcome) },
    ...METRICS.map((m) => ({ title: metricName(m), num: true, cell: (r) => metricValue(m, r[m]) })),
    { title: "parent", num: true, cell: (r) => (r.parent === null ? "–" : candidateRef(name, r.parent)) },
  ];
  async function load(fresh) {
    const asked = new URLSearchParams({ limit: PAGE, sort: sort.querySelector("select").value });
    const kind = outcome.querySelector("select").value;
    if (kind) asked.set("outcome", kind);
    if (most.value) asked.set("latency_ms", most.value);
    if (!fresh && next !== null) asked.set("after", next);
    told.textContent = "loading…";
    try {
      const found = await get(`runs/${encodeURIComponent(name)}/candidates?${asked}`);
      rows = fresh ? found.rows : rows.concat(found.rows);
      next = found.next;
      told.textContent = `${count(rows.length)} of ${count(found.total)}`;
      replace(list, rows.length ? table(columns, rows, { caption: "Candidates" }) : nothing("None."));
      more.hidden = next === null;
    } catch (problem) { told.textContent = problem.message; }
  }
  const box = h("details", { ontoggle: (event) => { if (event.target.open && !rows.length) load(true); } }, h("summary", {}, "Search through every candidate"),
    h("p", { class: "filters" }, outcome, sort, h("label", {}, "latency ≤ ", most, " ms")), list, h("p", { class: "actions" }, more, told));
  return section("All candidates", box);
}
