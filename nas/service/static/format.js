// Numbers as a reader wants them: three digits that matter, and always a unit.

const NONE = "–";
const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];

const known = (value) => typeof value === "number" && Number.isFinite(value);

export function digits(value, significant = 3) {
  if (!known(value)) return NONE;
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(significant - 1).split("e")[1]);
  const places = Math.min(12, Math.max(0, significant - 1 - exponent));
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

export function si(value, unit = "") {
  if (!known(value)) return NONE;
  for (const [size, prefix] of PREFIXES) {
    if (Math.abs(value) >= size * 0.9995) return `${digits(value / size)} ${prefix}${unit}`;
  }
  return `${Number.isInteger(value) ? value : digits(value)} ${unit}`.trim();
}

export const count = (value) => (known(value) ? Math.round(value).toLocaleString("en") : NONE);
export const ms = (value) => (known(value) ? `${digits(value)} ms` : NONE);
export const bytes = (value) => (known(value) ? si(value, "B") : NONE);
export const percent = (value, places = 1) => (known(value) ? `${(100 * value).toFixed(places)} %` : NONE);

export function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 1) return "under a second";
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${(value / 60).toFixed(1)} min`;
  return value < 172800 ? `${(value / 3600).toFixed(1)} h` : `${(value / 86400).toFixed(1)} days`;
}

export function when(value) {
  if (value === null || value === undefined) return NONE;
  const date = new Date(typeof value === "number" ? value * 1000 : value);
  return Number.isNaN(date.getTime()) ? NONE : date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

const WORDS = {
  latency_ms: "latency, ms", latency_upper_ms: "upper bound, ms", params: "parameters", macs: "MACs", depth: "depth",
  convs: "convolutions", peak_memory_bytes: "peak memory", score: "score", id: "candidate",
};
const SHOW = {
  latency_ms: digits, latency_upper_ms: digits, params: si, macs: si, depth: count, convs: count,
  peak_memory_bytes: bytes, score: (value) => digits(value, 4), id: String,
};

export const metricName = (name) => WORDS[name] || name.replaceAll("_", " ");
export const metricValue = (name, value) => (value === null || value === undefined ? NONE : (SHOW[name] || digits)(value));
export const limitText = (name, value) => `${metricName(name).replace(", ms", "")} ≤ ${name.startsWith("latency") ? `${value} ms` : metricValue(name, value)}`;
