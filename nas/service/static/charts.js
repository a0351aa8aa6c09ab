// Small charts: a rising line, predicted against actual, stated against seen.

import { fit, frame, responsive } from "./axes.js";
import { h, s } from "./dom.js";
import { digits, percent } from "./format.js";

// points: [[x, y], ...]; steps: a value holds until the next.
export function lineChart(points, { x, y, label, steps = false, show, showX }) {
  return responsive(h("div", { class: "plot" }), (width) => {
    const height = 220, area = { left: 52, top: 26, right: width - 10, bottom: height - 44 };
    const across = fit(points.map((p) => p[0]), [area.left, area.right], { pad: 0 });
    const up = fit(points.map((p) => p[1]), [area.bottom, area.top], { pad: 0.06 });
    const path = points.map((p, i) => (i && steps ? `H${across(p[0]).toFixed(1)}V${up(p[1]).toFixed(1)}` : `${i ? "L" : "M"}${across(p[0]).toFixed(1)} ${up(p[1]).toFixed(1)}`)).join("");
    return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
      frame(area, { scale: across, title: x, show: showX }, { scale: up, title: y, show }), s("path", { d: path, class: "best" }));
  });
}

// points: [{predicted, actual, low, high, id, kind}]; the diagonal is where a prediction is right.
export function parity(points, { title, unit, show = digits, log = false }) {
  return responsive(h("div", { class: "plot square" }), (width) => {
    const side = Math.min(width, 440), area = { left: 54, top: 28, right: side - 8, bottom: side - 46 };
    const values = points.flatMap((p) => [p.predicted, p.actual, p.low, p.high]).filter((v) => typeof v === "number");
    const across = fit(values, [area.left, area.right], { log }), up = fit(values, [area.bottom, area.top], { log });
    const low = Math.min(...values), high = Math.max(...values);
    const marks = points.map((p) => s("g", {}, s("title", {}, `${p.id === undefined ? "" : `${p.kind === "label" ? "network" : "candidate"} ${p.id}: `}predicted ${show(p.predicted)}, actual ${show(p.actual)}`),
      typeof p.low === "number" ? s("line", { x1: across(p.predicted), x2: across(p.predicted), y1: up(p.low), y2: up(p.high), class: "shift" }) : null,
      s("circle", { cx: across(p.predicted), cy: up(p.actual), r: p.kind === "table" ? 2.6 : 4, class: p.kind === "table" ? "quiet-dot" : "front-dot" })));
    return s("svg", { viewBox: `0 0 ${side} ${side}`, width: side, height: side, role: "img", "aria-label": title },
      frame(area, { scale: across, title: `predicted, ${unit}`, show }, { scale: up, title: `actual, ${unit}`, show }),
      s("line", { x1: across(low), y1: up(low), x2: across(high), y2: up(high), class: "diagonal" }), marks);
  });
}

export function calibration(rows) {
  return responsive(h("div", { class: "plot square" }), (width) => {
    const side = Math.min(width, 440), area = { left: 54, top: 28, right: side - 8, bottom: side - 46 };
    const across = fit([0, 1], [area.left, area.right], { pad: 0 }), up = fit([0, 1], [area.bottom, area.top], { pad: 0 });
    const path = rows.map((r, i) => `${i ? "L" : "M"}${across(r.stated)} ${up(r.seen)}`).join("");
    const show = (value) => percent(value, 0);
    return s("svg", { viewBox: `0 0 ${side} ${side}`, width: side, height: side, role: "img", "aria-label": "Calibration: share of labels inside intervals of a stated share" },
      frame(area, { scale: across, title: "stated share of the interval", show }, { scale: up, title: "labels inside", show }),
      s("line", { x1: across(0), y1: up(0), x2: across(1), y2: up(1), class: "diagonal" }), s("path", { d: path, class: "best" }),
      rows.map((r) => s("circle", { cx: across(r.stated), cy: up(r.seen), r: 3.5, class: "front-dot" }, s("title", {}, `stated ${show(r.stated)}, seen ${show(r.seen)}`))));
  });
}

// rows: [[name, count]]; a bar each, as wide as its share of the largest.
export const bars = (rows, show, kind = "") => h("ul", { class: "bars" }, rows.map(([name, value]) => h("li", {},
  h("span", { class: "bar-name" }, name), h("span", { class: "bar-value" }, show(value)),
  h("span", { class: `bar-fill ${kind}`, "width%": 100 * value / Math.max(1e-12, ...rows.map((r) => r[1])), "aria-hidden": "true" }))));
