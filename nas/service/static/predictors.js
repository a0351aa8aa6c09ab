// How far the predictions of a run can be trusted.

import { calibration, parity } from "./charts.js";
import { get } from "./data.js";
import { facts, h, nothing, replace, section, table } from "./dom.js";
import { count, digits, ms, percent } from "./format.js";
import { runLink } from "./runs.js";

export async function predictorsView(page, name) {
  const p = await get(`runs/${encodeURIComponent(name)}/predictors`);
  replace(page,
    h("header", {}, h("p", { class: "crumb" }, h("a", { href: "#/" }, "Runs"), " / ", h("a", { href: runLink(name) }, name), " / predictors"), h("h1", {}, "Predictors")),
    section("Latency", p.latency ? latency(p.latency) : nothing("This run has no latency budget, hence no latency table.")),
    section("Accuracy", p.accuracy ? accuracy(p.accuracy) : nothing("This run searched by a score and learnt no predictor of accuracy; --score predictor does.")));
}

function latency(l) {
  const points = [...l.pairs.map((x) => ({ ...x, kind: "table" })), ...l.finalists];
  const held = l.held_out;
  return [
    facts([
      ["device", l.device],
      held && ["held-out error", percent(held.mape), `${count(held.networks)} networks`],
      held && ["within 10 %", percent(held.within_10, 0)], held && ["rank correlation", digits(held.spearman)],
      l.upper_factor && ["upper bound", `${digits(l.upper_factor)} × mean`, `at ${percent(l.confidence, 0)}`],
      l.covered !== null && ["finalists below it", percent(l.covered, 0), `of ${l.finalists.length}`],
    ]),
    points.length ? h("figure", {}, parity(points, { title: "Predicted against measured latency", unit: "ms", log: true }),
      h("figcaption", {}, "Blue: finalists of this run, with the interval of the measurement. Grey: networks that the table was made with.")) : nothing("Nothing was measured yet."),
    l.finalists.length ? h("details", {}, h("summary", {}, "As a table"), table([
      { title: "candidate", cell: (r) => r.id }, { title: "predicted", num: true, cell: (r) => ms(r.predicted) },
      { title: "upper bound", num: true, cell: (r) => ms(r.upper) }, { title: "measured", num: true, cell: (r) => ms(r.actual) },
      { title: "error", num: true, cell: (r) => percent(r.predicted / r.actual - 1) },
    ], l.finalists, { caption: "Finalists" })) : null,
  ];
}

function accuracy(a) {
  return [
    a.judged ? h("p", {}, `The predictor ${a.judged.sentence}.`) : null,
    facts([["labels", count(a.labels.length)], ["failed", count(a.labels.filter((l) => l.failure).length)]]),
    a.judged && a.judged.model ? h("p", { class: "note" }, `Model: ${a.judged.model}.`) : null,
    a.note ? nothing(a.note) : h("div", { class: "columns" },
      h("figure", {}, parity(a.parity.map((x) => ({ ...x, kind: "label" })), { title: "Predicted against actual accuracy", unit: "top-1", show: (v) => percent(v, 0) }), h("figcaption", {}, "Each network was left out of the fit that predicts it.")),
      h("figure", {}, calibration(a.calibration), h("figcaption", {}, "Above the diagonal: intervals wider than they need be; below: too sure."))),
  ];
}
