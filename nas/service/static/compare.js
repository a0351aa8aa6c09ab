// Candidates side by side.

import { frozen, get } from "./data.js";
import { h, replace, section, table } from "./dom.js";
import { metricName, metricValue, ms, percent } from "./format.js";
import { network, waterfall } from "./candidate.js";
import { runLink } from "./runs.js";
import { candidateRef } from "./scatter.js";

const METRICS = ["score", "latency_ms", "latency_upper_ms", "params", "macs", "depth", "convs", "peak_memory_bytes"];

async function asked(name, ids) {
  const path = `runs/${encodeURIComponent(name)}`;
  if (!frozen) return (await get(`${path}/compare?ids=${ids.join(",")}`)).candidates;
  return Promise.all(ids.map((id) => get(`${path}/candidates/${id}`)));
}

export async function compareView(page, name, ids) {
  const found = await asked(name, ids), first = found[0];
  const versus = (key, c) => {
    const value = c.row[key], base = first.row[key];
    if (c === first || typeof value !== "number" || !base) return metricValue(key, value);
    return [metricValue(key, value), " ", h("small", {}, `${value >= base ? "+" : "−"}${percent(Math.abs(value / base - 1))}`)];
  };
  const rows = [
    ...METRICS.filter((m) => found.some((c) => c.row[m] !== null)).map((m) => ({ title: metricName(m), of: (c) => versus(m, c) })),
    { title: "measured", of: (c) => (c.found && c.found.measured ? ms(c.found.measured.latency_ms) : "–") },
    { title: "validation top-1", of: (c) => (c.found ? percent(c.found.top1) : "–") },
    { title: "blocks", of: (c) => c.architecture.spec.blocks.length },
    { title: "parent", of: (c) => (c.row.parent === null ? "–" : c.row.parent) },
  ];
  const columns = [{ title: "figure", head: " ", cell: (r) => r.title },
    ...found.map((c) => ({ title: c.id, num: true, head: candidateRef(name, c.id, `candidate ${c.id}`), cell: (r) => r.of(c) }))];
  replace(page,
    h("header", {}, h("p", { class: "crumb" }, h("a", { href: "#/" }, "Runs"), " / ", h("a", { href: runLink(name) }, name), " / compare"), h("h1", {}, `${found.length} candidates`)),
    section("Figures", table(columns, rows, { caption: `Differences are to candidate ${first.id}` })),
    section("Architectures", h("div", { class: "side" }, found.map((c) => h("div", {}, h("h3", {}, `Candidate ${c.id}`), narrowOnly(c))))),
    section("Cost of every block", found.map((c) => [h("h3", {}, `Candidate ${c.id}`), waterfall(c.architecture.blocks)])));
}

function narrowOnly(c) {
  const parts = network(c.architecture);
  return c.architecture.svg ? [h("div", {}, parts[1].firstChild), parts[2]] : parts;
}
