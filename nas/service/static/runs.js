// The list of runs.

import { frozen, get } from "./data.js";
import { h, nothing, replace, table } from "./dom.js";
import { count, ms, percent, when } from "./format.js";

export const runLink = (name) => `#/runs/${encodeURIComponent(name)}`;
const STATES = { kept: "budget kept", missed: "budget missed", unclear: "not proven", "no budget": "no budget" };

export function stateMark(state, verdict) {
  if (verdict) return h("span", { class: `state ${verdict.replace(" ", "-")}` }, STATES[verdict] || verdict);
  return h("span", { class: `state ${state || ""}` }, state || "unfinished");
}

const COLUMNS = [
  { title: "run", cell: (r) => h("a", { href: runLink(r.name) }, r.name) },
  { title: "state", cell: (r) => stateMark(r.state || (r.finished ? "finished" : null), r.verdict) },
  { title: "data", cell: (r) => r.data },
  { title: "device", cell: (r) => r.device },
  { title: "budget", num: true, cell: (r) => (r.budget_ms ? `${r.budget_ms} ms` : "–") },
  { title: "latency", num: true, cell: (r) => ms(r.latency_ms) },
  { title: "top-1", num: true, cell: (r) => percent(r.top1) },
  { title: "candidates", num: true, cell: (r) => count(r.candidates) },
  { title: "changed", cell: (r) => when(r.changed) },
];

export async function runsView(page) {
  const draw = async () => {
    const { runs } = await get("runs");
    const sound = runs.filter((r) => !r.problem), broken = runs.filter((r) => r.problem);
    replace(page, h("header", {}, h("h1", {}, "Runs")),
      frozen ? null : h("p", {}, h("a", { class: "button", href: "#/new" }, "New search")),
      sound.length ? table(COLUMNS, sound, { caption: "Newest first" }) : nothing("No run yet. Start one with New search, or with netwright search."),
      broken.map((r) => h("p", { class: "problem" }, `${r.name}: ${r.problem}`)));
  };
  await draw();
  if (frozen) return null;
  const timer = setInterval(() => { if (!document.hidden && !page.contains(document.activeElement)) draw().catch(() => {}); }, 5000);
  return () => clearInterval(timer);
}
