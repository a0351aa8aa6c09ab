// The devices whose latencies are known.

import { parity } from "./charts.js";
import { get, has } from "./data.js";
import { facts, h, nothing, replace, section, table } from "./dom.js";
import { count, digits, ms, percent, when } from "./format.js";

const link = (name) => `#/devices/${encodeURIComponent(name)}`;
const drift = (current) => (current === null ? "not here" : h("span", { class: `state ${current ? "kept" : "missed"}` }, current ? "as measured" : "changed"));

export async function devicesView(page) {
  const { devices } = await get("devices");
  const columns = [
    { title: "device", cell: (d) => (has(`devices/${encodeURIComponent(d.name)}`) ? h("a", { href: link(d.name) }, d.name) : d.name) },
    { title: "conditions", cell: (d) => (d.problem ? h("span", { class: "problem" }, d.problem) : drift(d.current)) },
    { title: "runtime", cell: (d) => d.device || d.source || "–" },
    { title: "precision", cell: (d) => d.precision || "–" },
    { title: "kernels", num: true, cell: (d) => (d.rows ? count(d.rows.kernels) : "–") },
    { title: "networks", num: true, cell: (d) => (d.rows ? count(d.rows.networks) : "–") },
    { title: "measured", cell: (d) => when(d.date) },
  ];
  replace(page, h("header", {}, h("h1", {}, "Devices")), devices.length ? table(columns, devices, { caption: "Devices whose latencies are known" })
    : nothing("No device yet; netwright profile measures this one."));
}

export async function deviceView(page, name) {
  const d = await get(`devices/${encodeURIComponent(name)}`);
  const span = (s) => (s ? `${digits(s[0])} to ${digits(s[2])}` : "–");
  const conditions = Object.entries(d.conditions || {}).filter(([, value]) => value !== null && typeof value !== "object").map(([key, value]) => [key.replaceAll("_", " "), key === "date" ? when(value) : String(value)]);
  replace(page,
    h("header", {}, h("p", { class: "crumb" }, h("a", { href: "#/devices" }, "Devices"), ` / ${d.name}`), h("h1", {}, d.name), facts([
      ["runtime", d.device || "not here"], ["precision", d.precision], ["kernels", count(d.rows.kernels)], ["networks", count(d.rows.networks)],
      ["networks, ms", span(d.coverage.network_ms)], ["call overhead", ms(d.overhead_ms)],
    ])),
    section("Drift", d.drift === null ? nothing("It is not measured on this machine.")
      : d.drift.length ? h("ul", {}, d.drift.map((line) => h("li", { class: "problem" }, line))) : h("p", {}, "Nothing has changed since it was measured.")),
    section("Measured against predicted", d.tables.length ? d.tables.map((t) => h("figure", {}, h("h3", {}, `${t.space} at ${t.input_shape.join("×")}`),
      parity(t.measured.map(([predicted, actual]) => ({ predicted, actual, kind: "table" })), { title: `Predicted against measured latency of ${t.space}`, unit: "ms", log: true }),
      h("figcaption", {}, `Held-out error ${percent(t.held_out.mape)}, rank correlation ${digits(t.held_out.spearman)}, on ${t.held_out.networks} networks.`)))
      : nothing("No space has a latency table from these rows yet.")),
    section("Conditions", conditions.length ? table([{ title: "fact", cell: (r) => r[0] }, { title: "value", cell: (r) => r[1] }], conditions, { caption: "When it was measured" }) : nothing("Not stated.")));
}
