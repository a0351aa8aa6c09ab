// Score against cost: the front, points near it, and a heat map of all the others.

import { fit, frame, responsive } from "./axes.js";
import { has } from "./data.js";
import { h, s } from "./dom.js";
import { limitText, metricName, metricValue, si } from "./format.js";

const LEVELS = 5, HIT = 22; // steps of the heat map; pixels within which the pointer finds a point

export const candidateLink = (run, id) => `#/runs/${encodeURIComponent(run)}/candidates/${id}`;

// A link, or the bare number where an exported file has no page of that candidate.
export const candidateRef = (run, id, text = String(id)) =>
  (has(`runs/${encodeURIComponent(run)}/candidates/${id}`) ? h("a", { href: candidateLink(run, id) }, text) : text);

export function scatterPlot(run, data) {
  const box = h("div", { class: "plot" });
  return responsive(box, (width) => draw(run, data, width));
}

function draw(run, data, width) {
  const height = Math.round(Math.min(460, Math.max(300, width * 0.52)));
  const area = { left: 52, top: 30, right: width - 10, bottom: height - 46 };
  const density = data.density, front = data.pareto;
  const edges = density.x_edges.map((edge) => 10 ** edge);
  const measured = data.finalists.filter((row) => row.measured && row.score !== null);
  const budget = data.budget !== null ? [data.budget] : [];
  const x = fit([...edges, ...data.points.x, ...front.map((row) => row[data.x]), ...budget,
    ...(data.x === "latency_ms" ? measured.map((row) => row.measured.latency_ms) : [])], [area.left, area.right], { log: true, pad: 0.02 });
  const y = fit([...density.y_edges, ...front.map((row) => row.score)], [area.bottom, area.top], { pad: 0.03 });
  const label = `Score against ${metricName(data.x)} of ${data.candidates} candidates; ${front.length} on the Pareto front. Arrow keys move along the front.`;
  const tip = h("div", { class: "tip", role: "status", hidden: true });
  const picture = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": label },
    heat(density, edges, x, y), frame(area, { scale: x, title: metricName(data.x) }, { scale: y, title: "score" }),
    cloud(data.points, x, y), budgetLine(data, x, area), frontLine(front, data, x, y),
    data.x === "latency_ms" ? measured.map((row) => measuredMark(row, x, y)) : null);
  const dots = frontDots(run, data, x, y, width, tip);
  picture.append(dots);
  hover(picture, run, data, x, y, width, tip);
  return h("div", { class: "plot-inner" }, picture, tip, legend(data, measured));
}

function heat(density, edges, x, y) {
  let most = 0;
  for (const row of density.counts) for (const value of row) most = Math.max(most, value);
  const paths = Array.from({ length: LEVELS }, () => []);
  density.counts.forEach((row, j) => row.forEach((value, i) => {
    if (!value) return;
    const level = Math.min(LEVELS - 1, Math.floor(LEVELS * Math.log1p(value) / Math.log1p(most)));
    const [x0, x1, y0, y1] = [x(edges[i]), x(edges[i + 1]), y(density.y_edges[j]), y(density.y_edges[j + 1])].map((v) => v.toFixed(1));
    paths[level].push(`M${x0} ${y0}H${x1}V${y1}H${x0}Z`);
  }));
  return s("g", { "aria-hidden": "true" }, paths.map((path, i) => s("path", { d: path.join(""), class: `h${i + 1}` })));
}

const cloud = (points, x, y) => s("path", {
  class: "cloud", "aria-hidden": "true",
  d: points.x.map((value, i) => `M${x(value).toFixed(1)} ${y(points.y[i]).toFixed(1)}h0`).join(""),
});

function budgetLine(data, x, area) {
  if (data.budget === null) return null;
  const at = x(data.budget), near = at > area.right - 120;
  return s("g", {}, s("line", { x1: at, x2: at, y1: area.top - 4, y2: area.bottom, class: "budget" }),
    s("text", { x: at + (near ? -6 : 6), y: area.top + 8, class: "budget-label", "text-anchor": near ? "end" : null },
      `budget ${limitText(data.x, data.budget).split("≤ ")[1]}`));
}

function frontLine(front, data, x, y) {
  if (!front.length) return null;
  let path = "", last = null;
  for (const row of front) {
    const at = [x(row[data.x]).toFixed(1), y(row.score).toFixed(1)];
    path += last === null ? `M${at[0]} ${at[1]}` : `H${at[0]}V${at[1]}`;
    last = at;
  }
  return s("path", { d: path, class: "front", "aria-hidden": "true" });
}

function measuredMark(row, x, y) {
  const from = x(row.latency_ms), to = x(row.measured.latency_ms), at = y(row.score);
  return s("g", { "aria-hidden": "true" }, s("line", { x1: from, x2: to, y1: at, y2: at, class: "shift" }),
    s("circle", { cx: to, cy: at, r: row.winner ? 6 : 3.5, class: row.winner ? "winner" : `measured${row.within ? "" : " over"}` }));
}

// One stop of the tab key; arrows, Home and End move inside.
function frontDots(run, data, x, y, width, tip) {
  const links = data.pareto.map((row, i) => {
    const link = s("a", {
      href: candidateLink(run, row.id), tabindex: i ? "-1" : "0", class: "front-link",
      "aria-label": `candidate ${row.id}: score ${metricValue("score", row.score)}, ${metricName(data.x)} ${metricValue(data.x, row[data.x])}`,
    }, s("circle", { cx: x(row[data.x]), cy: y(row.score), r: 9, class: "hit" }),
    s("circle", { cx: x(row[data.x]), cy: y(row.score), r: 3.6, class: "front-dot" }));
    link.addEventListener("focus", () => show(tip, row, data, x, y, width));
    link.addEventListener("blur", () => { tip.hidden = true; });
    return link;
  });
  const group = s("g", { class: "front-dots" }, links);
  group.addEventListener("keydown", (event) => {
    const at = links.indexOf(event.target.closest("a"));
    const to = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = links[Math.min(Math.max(to, 0), links.length - 1)];
    links.forEach((link) => link.setAttribute("tabindex", link === next ? "0" : "-1"));
    next.focus();
  });
  return group;
}

function show(tip, row, data, x, y, width) {
  const at = x(row[data.x]);
  tip.replaceChildren(h("b", {}, `candidate ${row.id}`), h("span", {}, `score ${metricValue("score", row.score)}`),
    h("span", {}, `${metricName(data.x)} ${metricValue(data.x, row[data.x])}`),
    row.params ? h("span", {}, `${si(row.params)} parameters`) : "");
  tip.style.left = `${Math.min(Math.max(at, 84), width - 84)}px`;
  const top = y(row.score);
  tip.style.top = `${top < 110 ? top + 14 : top - 12}px`;
  tip.classList.toggle("below", top < 110);
  tip.hidden = false;
}

function hover(picture, run, data, x, y, width, tip) {
  const all = [...data.pareto, ...data.points.x.map((value, i) => ({ id: data.points.id[i], [data.x]: value, score: data.points.y[i] }))];
  const places = all.map((row) => [x(row[data.x]), y(row.score)]);
  const nearest = (event) => {
    const place = picture.getBoundingClientRect(), factor = width / place.width;
    const px = (event.clientX - place.left) * factor, py = (event.clientY - place.top) * factor;
    let best = -1, least = HIT * HIT;
    places.forEach(([ax, ay], i) => { const d = (ax - px) ** 2 + (ay - py) ** 2; if (d < least) { least = d; best = i; } });
    return best < 0 ? null : all[best];
  };
  picture.addEventListener("pointermove", (event) => { const row = nearest(event); if (row) show(tip, row, data, x, y, width); else tip.hidden = true; });
  picture.addEventListener("pointerleave", () => { tip.hidden = true; });
  picture.addEventListener("click", (event) => { const row = event.target.closest("a") ? null : nearest(event); if (row && has(`runs/${encodeURIComponent(run)}/candidates/${row.id}`)) location.hash = candidateLink(run, row.id); });
}

const legend = (data, measured) => h("p", { class: "legend" },
  h("span", { class: "key key-front" }, "Pareto front"), h("span", { class: "key key-cloud" }, "best at each cost"),
  h("span", { class: "key key-heat" }, "how many lie there"),
  data.x === "latency_ms" && measured.length ? h("span", { class: "key key-measured" }, "measured on the device") : null,
  data.x === "latency_ms" && data.winner !== null ? h("span", { class: "key key-winner" }, "winner") : null);
