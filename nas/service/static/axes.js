// From values to pixels, with ticks at numbers that a person would choose.

import { s } from "./dom.js";
import { digits, si } from "./format.js";

const LOG_FROM = 25; // a range of more than this factor reads better on a logarithmic axis
const MARKS = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7]];

// values: finite numbers; pixels: [start, end]. Gives a function with .ticks and .log.
export function fit(values, pixels, { log = false, pad = 0.04, zero = false } = {}) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) { low = 0; high = 1; }
  if (zero) low = Math.min(0, low);
  const curved = log && low > 0 && high / low > LOG_FROM;
  if (low === high) { const half = Math.abs(low) / 10 || 1; low -= half; high += half; }
  const forth = curved ? Math.log10 : (value) => value;
  const room = pad * (forth(high) - forth(low));
  const start = zero && low === 0 ? 0 : forth(low) - room, end = forth(high) + room;
  const scale = (value) => pixels[0] + (Math.min(Math.max(forth(value), start), end) - start) / (end - start) * (pixels[1] - pixels[0]);
  scale.log = curved;
  scale.ticks = (wanted) => (curved ? logTicks(start, end, wanted) : linearTicks(start, end, wanted));
  return scale;
}

function linearTicks(low, high, wanted) {
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((size) => size >= raw * (1 - 1e-9));
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) ticks.push(Number((i * step).toPrecision(10)));
  return ticks;
}

function logTicks(low, high, wanted) {
  let best = [];
  for (const marks of MARKS) {
    const ticks = [];
    for (let d = Math.floor(low); d <= Math.ceil(high); d++) {
      for (const m of marks) { const at = Math.log10(m) + d; if (at >= low && at <= high) ticks.push(Number((m * 10 ** d).toPrecision(10))); }
    }
    if (ticks.length > wanted + 1 && best.length >= 2) break;
    best = ticks;
  }
  return best.filter((_, i) => i % Math.max(1, Math.ceil(best.length / (wanted + 1))) === 0);
}

const label = (value) => (Math.abs(value) >= 1000 ? si(value).replace(" ", "") : String(Number(digits(value, 4).replaceAll(",", ""))));

// area: {left, top, right, bottom}; x and y: {scale, title}. The frame, its ticks and its titles.
export function frame(area, x, y) {
  const parts = [];
  for (const value of y.scale.ticks(5)) {
    const at = y.scale(value);
    parts.push(s("line", { x1: area.left, x2: area.right, y1: at, y2: at, class: "grid" }));
    parts.push(s("text", { x: area.left - 7, y: at + 4, "text-anchor": "end", class: "tick" }, (y.show || label)(value)));
  }
  for (const value of x.scale.ticks(Math.max(3, Math.round((area.right - area.left) / 110)))) {
    const at = x.scale(value);
    parts.push(s("line", { x1: at, x2: at, y1: area.bottom, y2: area.bottom + 4, class: "base" }));
    parts.push(s("text", { x: at, y: area.bottom + 18, "text-anchor": "middle", class: "tick" }, (x.show || label)(value)));
  }
  parts.push(s("line", { x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom, class: "base" }));
  parts.push(s("text", { x: area.right, y: area.bottom + 35, "text-anchor": "end", class: "axis" }, x.title));
  parts.push(s("text", { x: area.left, y: area.top - 10, class: "axis" }, y.title));
  return s("g", { "aria-hidden": "true" }, parts);
}

// A drawing as wide as its place is now; drawn anew when that changes.
export function responsive(element, draw) {
  let width = 0;
  const again = () => {
    const now = Math.max(280, Math.min(1100, Math.floor(element.clientWidth || 0)));
    if (element.isConnected && now !== width) { width = now; element.replaceChildren(draw(width)); }
  };
  if (typeof ResizeObserver !== "undefined") new ResizeObserver(() => requestAnimationFrame(again)).observe(element);
  queueMicrotask(again);
  return element;
}
