// A new search: the form asks for an estimate before it starts one.

import { get, post } from "./data.js";
import { facts, h, nothing, replace, section } from "./dom.js";
import { digits, limitText, metricName, metricValue, percent, seconds } from "./format.js";
import { runLink } from "./runs.js";

const FIELDS = [
  ["name", "Name", { placeholder: "chosen for you", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*" }, "of the run; letters, digits, . _ -"],
  ["data", "Data", { value: "digits", required: true, list: "known-data" }, "digits, fashion-mnist, or a folder or file on the server"],
  ["space", "Space", { value: "auto", required: true, list: "known-spaces" }, "auto takes one that suits the images"],
  ["device", "Device", { value: "onnxruntime", required: true, list: "known-devices" }, "where the latency is held"],
  ["latency", "Latency budget", { value: "0.2ms", pattern: "\\s*[0-9.]+\\s*(us|ms|s)\\s*" }, "with its unit; empty for no budget"],
  ["params", "Parameters at most", { placeholder: "no limit" }, "for example 300k"],
  ["evaluations", "Evaluations", { value: "20000", type: "number", min: 1, required: true }, "candidates to look at"],
  ["epochs", "Epochs", { value: "30", type: "number", min: 1, required: true }, "of the winner's training"],
  ["seed", "Seed", { value: "0", type: "number", min: 0, required: true }, "of everything random"],
];

export async function launchView(page) {
  const inputs = {}, said = h("div", { role: "status", "aria-live": "polite" }), where = h("p", { class: "note" });
  const rows = FIELDS.map(([key, label, attributes, help]) => {
    inputs[key] = h("input", { id: `f-${key}`, name: key, type: "text", autocomplete: "off", "aria-describedby": `h-${key}`, ...attributes });
    return h("div", { class: "field" }, h("label", { for: `f-${key}` }, label), inputs[key], h("small", { id: `h-${key}` }, help));
  });
  const check = h("button", { type: "submit" }, "Estimate"), start = h("button", { type: "button", class: "primary", disabled: true }, "Start");
  const lists = ["data", "spaces", "devices"].map((kind) => h("datalist", { id: `known-${kind}` }));
  let checked = null;
  const config = () => {
    const value = (key) => inputs[key].value.trim();
    const constraints = {};
    if (value("latency")) constraints.latency = value("latency").replace(/\s+/g, "");
    if (value("params")) constraints.params = value("params");
    return { data: value("data"), space: value("space"), device: value("device"), constraints, search: { evaluations: Number(value("evaluations")) }, recipe: { epochs: Number(value("epochs")) }, seed: Number(value("seed")) };
  };
  const fail = (problem) => {
    const field = (problem.field || "").split(".").pop();
    for (const input of Object.values(inputs)) input.removeAttribute("aria-invalid");
    if (inputs[field]) { inputs[field].setAttribute("aria-invalid", "true"); inputs[field].focus(); }
    replace(said, h("p", { class: "problem", role: "alert" }, problem.message));
  };
  const form = h("form", { class: "launch", onsubmit: async (event) => {
    event.preventDefault();
    check.disabled = true;
    replace(said, h("p", { class: "nothing" }, "Looking at random networks of the space…"));
    const asked = config();
    try {
      const found = await post("estimate", { config: asked });
      checked = JSON.stringify(asked);
      start.disabled = false;
      for (const input of Object.values(inputs)) input.removeAttribute("aria-invalid");
      replace(said, told(found, asked));
    } catch (problem) { fail(problem); }
    check.disabled = false;
  } }, rows, h("p", { class: "actions" }, check, start), lists);
  form.addEventListener("input", () => { if (JSON.stringify(config()) !== checked) start.disabled = true; });
  start.addEventListener("click", async () => {
    start.disabled = true;
    try {
      const name = inputs.name.value.trim();
      const made = await post("runs", { ...(name ? { name } : {}), config: config() });
      location.hash = runLink(made.name);
    } catch (problem) { fail(problem); start.disabled = false; }
  });
  replace(page, h("header", {}, h("h1", {}, "New search"), h("p", { class: "note" }, "First an estimate: how many networks keep the limits, and how long it takes. Then start."), where), form, said);
  tellWhere(where).catch(() => {});
  fillLists(lists).catch(() => {});
}

async function tellWhere(box) {
  const { cluster } = await get("cluster");
  if (!cluster) return;
  const node = cluster.device_node ? `; latencies are measured on its node ${cluster.device_node}` : "";
  replace(box, `Searches run on the Ray cluster at ${cluster.address}${cluster.answers === false ? ", which does not answer now" : node}.`);
}

async function fillLists([data, spaces, devices]) {
  const option = (value) => h("option", { value });
  replace(data, ["digits", "fashion-mnist"].map(option));
  const [s, d] = await Promise.all([get("spaces"), get("devices")]);
  replace(spaces, option("auto"), (s.spaces || []).map((row) => option(row.name)));
  replace(devices, ["onnxruntime", "openvino", "torch"].map(option), d.devices.map((row) => option(row.name)));
}

function told(e, asked) {
  const bad = e.unreachable.length;
  const stages = Object.entries(e.seconds).filter(([key, value]) => key !== "total" && value > 0);
  return section("Estimate",
    h("p", { class: `verdict ${bad ? "missed" : e.feasible_share > 0 ? "kept" : "unclear"}` }, bad
      ? `No network of ${e.space} keeps ${e.unreachable.map((m) => metricName(m).replace(", ms", "")).join(" or ")}; the tightest found: ${e.unreachable.map((m) => limitText(m, Number(digits(e.tightest[m]).replaceAll(",", "")))).join(", ")}.`
      : `${e.feasible ? percent(e.feasible_share) : "None"} of ${e.feasible ? "" : `${e.samples} `}random networks of ${e.space} keep the limits; about ${seconds(e.seconds.total)} in all.`),
    facts([
      ["within the limits", percent(e.feasible_share), `${percent(e.interval[0])} to ${percent(e.interval[1])} at 95 %`],
      ["evaluations", `${digits(e.evaluations_per_second)}/s`, "on one core"],
      ...Object.entries(e.tightest).map(([m, value]) => [`least ${metricName(m)}`, metricValue(m, value), "that a walk reaches"]),
      ...stages.map(([key, value]) => [key, seconds(value)]), ["in all", seconds(e.seconds.total), "rough"],
    ]),
    e.notes.map((note) => h("p", { class: "note" }, note)), asked.constraints.latency ? null : nothing("There is no latency budget: the largest networks will win."));
}
