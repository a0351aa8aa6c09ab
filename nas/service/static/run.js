// One run: how far it is, where its candidates lie, what came of it; live while it goes on.

import { allCandidates } from "./candidates.js";
import { bars, lineChart } from "./charts.js";
import { follow, frozen, get, post } from "./data.js";
import { facts, h, nothing, replace, section, table } from "./dom.js";
import { count, digits, limitText, metricName, metricValue, ms, percent, seconds, si, when } from "./format.js";
import { runLink, stateMark } from "./runs.js";
import { candidateRef, scatterPlot } from "./scatter.js";

const PLOT_EVERY_MS = 4000, WAIT_MS = 1500;
const LIVE = ["queued", "running", "pausing", "stopping"];
const STAGES = { labels: "labels", supernet: "supernet", search: "search", finalists: "finalists", training: "training", verification: "verification", guard: "baseline guard", done: "report" };

export async function runView(page, name) {
  const path = `runs/${encodeURIComponent(name)}`;
  const parts = Object.fromEntries(["head", "progress", "plot", "result", "front", "training", "more"].map((key) => [key, h("div", {})]));
  const first = await get(path);
  if (!first.stages) return waiting(page, name, first);
  const points = await get(`${path}/scatter`);
  let now = first;
  let plotted = { at: Date.now(), candidates: points.candidates };
  replace(page, parts.head, parts.progress, section("Score against cost", parts.plot), parts.result, parts.front, parts.training, parts.more);
  const draw = () => {
    redraw(parts.head, head(now, name, act));
    redraw(parts.progress, progress(now));
    redraw(parts.result, result(now, name));
    redraw(parts.training, training(now));
  };
  const plot = (data) => {
    replace(parts.plot, data.candidates ? scatterPlot(name, data) : nothing("No candidate yet."));
    replace(parts.front, frontTable(name, data));
  };
  const again = async () => {
    if (now.candidates === plotted.candidates || Date.now() - plotted.at < PLOT_EVERY_MS) return;
    if (parts.plot.contains(document.activeElement) || parts.front.contains(document.activeElement) || parts.plot.matches(":hover")) return;
    plotted = { at: Date.now(), candidates: now.candidates };
    plot(await get(`${path}/scatter`));
  };
  const act = async (verb) => {
    const done = await post(`${path}/${verb}`);
    now = { ...now, state: done.state };
    draw();
  };
  draw();
  plot(points);
  if (!frozen) replace(parts.more, allCandidates(name));
  return follow(name, {
    overview: (data) => { now = { ...now, ...data }; draw(); again().catch(() => {}); },
    state: (data) => { now = { ...now, state: data.state || data, job: data.job || now.job }; draw(); },
    event: () => { again().catch(() => {}); },
  });
}

// A search that has no run file yet: it waits for its turn, measures its device, or could not begin.
function waiting(page, name, first) {
  let timer = null, ended = null, left = false;
  const path = `runs/${encodeURIComponent(name)}`, box = h("div", {});
  const show = (o) => replace(box, h("header", {},
    h("p", { class: "crumb" }, h("a", { href: "#/" }, "Runs"), " / ", name), h("h1", {}, name, " ", stateMark(o.state)),
    h("p", { class: "note" }, o.state === "queued" ? "It waits for its turn." : LIVE.includes(o.state) ? "It gets ready: the device is measured before the first candidate." : "It has no candidates."),
    o.job && o.job.message ? h("p", { class: "problem" }, o.job.message) : null,
    h("p", { class: "actions" }, controls({ ...o, finished: false }, async (verb) => show({ ...o, ...(await post(`${path}/${verb}`)) })))));
  const again = async () => {
    const now = await get(path).catch(() => null);
    if (left) return;
    if (now && now.stages) { ended = await runView(page, name); if (left && ended) ended(); return; }
    if (now) show(now);
    timer = setTimeout(again, WAIT_MS);
  };
  show(first);
  replace(page, box);
  timer = setTimeout(again, WAIT_MS);
  return () => { left = true; clearTimeout(timer); if (ended) ended(); };
}

// Anew, without taking from the reader what has the focus or is unfolded.
function redraw(box, content) {
  const active = box.contains(document.activeElement) ? document.activeElement.textContent : null;
  const open = [...box.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
  replace(box, content);
  for (const summary of box.querySelectorAll("summary")) if (open.includes(summary.textContent)) summary.parentElement.open = true;
  if (active !== null) [...box.querySelectorAll("button, a, summary")].find((one) => one.textContent === active)?.focus({ preventScroll: true });
}

function head(o, name, act) {
  const limits = o.constraints.map((c) => limitText(c.metric, c.at_most)).concat(o.also.map((a) => `${a.device} ≤ ${a.at_most} ms`));
  return h("header", { class: "run-head" },
    h("p", { class: "crumb" }, h("a", { href: "#/" }, "Runs"), " / ", name),
    h("h1", {}, name, " ", stateMark(o.state || (o.finished ? "finished" : null), o.verification && o.verification.verdict)),
    h("p", { class: "run-facts" }, [o.data, o.config.space, o.device, o.score, ...limits, `seed ${o.seed}`, ...onCluster(o.config.engine)].map((text) => h("span", {}, text))),
    o.job && o.job.message ? h("p", { class: "problem" }, o.job.message) : null,
    h("p", { class: "actions" }, frozen ? null : controls(o, act), h("a", { class: "button", href: `${runLink(name)}/predictors` }, "Predictors")));
}

function onCluster(engine) {
  if (!engine || !engine.address) return [];
  return [`Ray at ${engine.address}`, ...(engine.device_node ? [`measured on ${engine.device_node}`] : [])];
}

function controls(o, act) {
  const said = h("span", { class: "problem", role: "alert" });
  const able = { Pause: ["running", "queued"], Resume: ["paused", "stopped", "failed", undefined, null], Stop: ["running", "queued", "paused"] };
  const buttons = Object.entries(able).map(([title, states]) => h("button", {
    type: "button", disabled: !states.includes(o.state) || (title === "Resume" && o.finished),
    onclick: (event) => {
      event.target.disabled = true;
      act(title.toLowerCase()).catch((problem) => { said.textContent = problem.message; event.target.disabled = false; });
    },
  }, title));
  return [...buttons, said];
}

function progress(o) {
  const p = o.progress, t = o.throughput, share = p.share || 0;
  const running = LIVE.includes(o.state);
  const stages = h("ol", { class: "stages" }, o.stages.map((stage) => h("li", {
    class: stage.state === "next" && running ? "running" : stage.state, title: stage.time ? when(stage.time) : null,
    "aria-label": `${STAGES[stage.name]}: ${stage.state === "next" ? (running ? "running" : "next") : stage.state}`,
  }, STAGES[stage.name] || stage.name)));
  return section("Progress", stages,
    h("progress", { max: 1, value: share, "aria-label": `search: ${count(p.done)} of ${count(p.asked)} evaluations` }),
    facts([
      ["evaluations", count(p.done), `of ${count(p.asked)}`],
      ["within the limits", percent(o.feasible_share), "of new designs"],
      ["throughput", t.per_second ? `${digits(t.per_second)}/s` : "–", t.source === "seen" ? "last minute" : t.source === "recorded" ? "whole search" : null],
      ["search left", t.eta_seconds === null ? "–" : seconds(t.eta_seconds)],
      ["best score", o.best ? metricValue("score", o.best.score) : "–"],
      ["on the front", count(o.front)],
    ]),
    h("div", { class: "columns" },
      h("div", {}, h("h3", {}, "Outcomes"), bars(Object.entries(o.outcomes).sort((a, b) => b[1] - a[1]), count)),
      h("div", {}, h("h3", {}, "Rejected by"), o.limits.some((l) => l.count) ? bars(o.limits.filter((l) => l.count).map((l) => [metricName(l.metric).replace(", ms", ""), l.count]), count, "quiet") : nothing("No limit rejected any.")),
      o.engine && o.engine.length ? h("div", {}, h("h3", {}, "Cluster"), h("ul", { class: "note" }, o.engine.slice(-6).map((e) => h("li", {}, e.said, " ", h("small", {}, when(e.time)))))) : null,
      o.failures.length ? h("div", {}, h("h3", {}, "Failures"), bars(o.failures.map((f) => [`${f.outcome}: ${f.reason}`, f.count]), count, "alarm")) : null),
    o.improvements.length > 1 ? h("details", {}, h("summary", {}, "Best score so far"), lineChart([...o.improvements, [o.candidates, o.improvements.at(-1)[1]]],
      { x: "candidates", y: "best score", label: "Best score by number of candidates", steps: true, showX: (v) => si(v) })) : null);
}

function result(o, name) {
  const parts = [];
  if (o.verification) {
    const m = o.verification.measurement || {};
    parts.push(h("p", { class: `verdict ${o.verification.verdict}` }, o.verification.sentence),
      facts([
        ["measured", ms(m.latency_ms), m.low_ms ? `${digits(m.low_ms)} to ${digits(m.high_ms)} ms` : null],
        o.test && ["test top-1", percent(o.test.top1), `± ${percent(o.test.standard_error)}`],
        o.winner && ["winner", candidateRef(name, o.winner.id, `candidate ${o.winner.id}`)],
        o.winner && ["parameters", si(o.winner.params)], o.winner && ["MACs", si(o.winner.macs)],
      ]));
  }
  if (o.guard) parts.push(h("p", {}, o.guard.verdict));
  if (o.finalists.length) parts.push(finalistTable(o.finalists, name));
  return parts.length ? section("Result", parts) : null;
}

function finalistTable(rows, name) {
  const columns = [
    { title: "finalist", cell: (r) => candidateRef(name, r.id) },
    { title: "score", num: true, cell: (r) => metricValue("score", r.score) },
    { title: "predicted", num: true, cell: (r) => ms(r.latency_ms) },
    { title: "measured", num: true, cell: (r) => (r.measured ? ms(r.measured.latency_ms) : "–") },
    { title: "budget", cell: (r) => (r.within === null ? "–" : r.within ? "kept" : "not kept") },
    { title: "validation top-1", num: true, cell: (r) => percent(r.top1) },
    { title: "race", cell: (r) => (r.winner ? "won" : r.failure ? `failed: ${r.failure}` : r.stopped_early ? "fell out" : r.raced ? "to the end" : "not raced") },
  ];
  return table(columns, rows, { caption: "Finalists, highest score first", mark: (r) => r.winner });
}

function frontTable(name, data) {
  if (!data.pareto.length) return null;
  const chosen = new Set();
  const link = h("a", { class: "button", href: "#", "aria-disabled": "true" }, "Compare");
  const update = () => {
    link.setAttribute("aria-disabled", String(chosen.size < 2));
    link.setAttribute("href", `${runLink(name)}/compare?ids=${[...chosen].join(",")}`);
  };
  link.addEventListener("click", (event) => { if (chosen.size < 2) event.preventDefault(); });
  const box = (r) => h("input", {
    type: "checkbox", "aria-label": `compare candidate ${r.id}`,
    onchange: (event) => { if (event.target.checked) chosen.add(r.id); else chosen.delete(r.id); if (chosen.size > 8) { chosen.delete(r.id); event.target.checked = false; } update(); },
  });
  const metrics = ["score", "latency_ms", "latency_upper_ms", "params", "macs", "depth", "peak_memory_bytes"].filter((m) => data.pareto.some((r) => r[m] !== null));
  const columns = [{ title: "candidate", cell: (r) => [box(r), " ", candidateRef(name, r.id)] },
    ...metrics.map((m) => ({ title: metricName(m), num: true, cell: (r) => metricValue(m, r[m]) }))];
  return section("Pareto set", h("p", { class: "actions" }, link, h("span", { class: "note" }, "mark two to eight")),
    table(columns, data.pareto, { caption: "No other beats these in both score and cost; cheapest first", mark: (r) => r.id === data.winner }));
}

function training(o) {
  if (o.epochs.length < 2) return null;
  return section("Training of the winner", lineChart(o.epochs.map((e) => [e.epoch, e.validation_top1]),
    { x: "epoch", y: "validation top-1", label: "Validation accuracy by epoch", show: (v) => percent(v, 0) }));
}
