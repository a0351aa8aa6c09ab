// The frame: routes, the theme, and the banner when the server is gone.

import { candidateView } from "./candidate.js";
import { compareView } from "./compare.js";
import { exportedRun, frozen, get, onReach, reached } from "./data.js";
import { deviceView, devicesView } from "./devices.js";
import { h, replace } from "./dom.js";
import { launchView } from "./launch.js";
import { predictorsView } from "./predictors.js";
import { runView } from "./run.js";
import { runLink, runsView } from "./runs.js";

const RETRY_MS = 2000, PING_MS = 15000;
const page = document.getElementById("page"), banner = document.getElementById("banner");
let leave = null, visit = 0, missing = false;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  const ids = (new URLSearchParams(query).get("ids") || "").split(",").filter((id) => /^\d+$/.test(id)).map(Number);
  const [what, name, kind, id] = parts;
  if (parts.includes(null)) return ["Not found", notFound];
  if (!what || (what === "runs" && !name)) return ["Runs", (el) => runsView(el)];
  if (what === "new" && !frozen) return ["New search", launchView];
  if (what === "devices") return name ? [name, (el) => deviceView(el, name)] : ["Devices", devicesView];
  if (what === "runs" && !kind) return [name, (el) => runView(el, name)];
  if (what === "runs" && kind === "candidates" && /^\d+$/.test(id || "")) return [`candidate ${id} · ${name}`, (el) => candidateView(el, name, Number(id))];
  if (what === "runs" && kind === "compare" && ids.length) return [`compare · ${name}`, (el) => compareView(el, name, ids)];
  if (what === "runs" && kind === "predictors") return [`predictors · ${name}`, (el) => predictorsView(el, name)];
  return ["Not found", notFound];
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return null; }
}

async function notFound(el) {
  replace(el, h("h1", {}, "Not found"), h("p", {}, "There is no such page. ", h("a", { href: "#/" }, "All runs")));
}

async function show({ quiet = false } = {}) {
  const mine = ++visit;
  if (leave) { leave(); leave = null; }
  const [title, view] = route();
  document.title = `${title} · netwright`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === (location.hash || "#/");
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const place = h("div", {});
  if (!quiet) replace(page, h("p", { class: "loading", role: "status" }, "Loading…"));
  page.setAttribute("aria-busy", "true");
  delete page.dataset.at;
  // In the document while it is filled, so that drawings know their width.
  try {
    const ended = await view(place);
    if (mine !== visit) { if (ended) ended(); return; }
    leave = ended || null;
    replace(page, place);
    missing = false;
    if (!quiet) { window.scrollTo(0, 0); page.focus({ preventScroll: true }); }
  } catch (problem) {
    if (mine !== visit) return;
    const gone = Boolean(problem.gone), kept = quiet && gone; // the server went away again: what is shown stays
    if (!kept) {
      missing = gone;
      replace(page, h("h1", {}, title), h("p", { class: "problem", role: "alert" }, problem.message), h("p", {}, h("a", { href: "#/" }, "All runs")));
    }
    if (!(problem instanceof Error && "gone" in problem)) console.error(problem);
  } finally {
    if (mine === visit) { page.removeAttribute("aria-busy"); page.dataset.at = location.hash; }
  }
}

function watchServer() {
  let timer = null;
  onReach((there) => {
    banner.hidden = there;
    replace(banner, there ? null : "The server does not answer. Searches go on without it; this page tries again every two seconds.");
    if (there) { clearInterval(timer); timer = null; show({ quiet: !missing }); }
    else if (!timer) timer = setInterval(() => get("health").then(() => reached(true), () => {}), RETRY_MS);
  });
  setInterval(() => { if (!document.hidden && !timer) get("health").catch(() => {}); }, PING_MS);
}

function theme() {
  const button = document.getElementById("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  let stored = null;
  try { stored = localStorage.getItem("netwright-theme"); } catch { /* not allowed here */ }
  const apply = (name) => {
    if (name) document.documentElement.setAttribute("data-theme", name); else document.documentElement.removeAttribute("data-theme");
    const now = name || (dark.matches ? "dark" : "light");
    button.textContent = now === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `switch to ${now === "dark" ? "light" : "dark"} colours`);
    return now;
  };
  let now = apply(stored);
  dark.addEventListener("change", () => { if (!stored) now = apply(null); });
  button.addEventListener("click", () => {
    stored = now === "dark" ? "light" : "dark";
    now = apply(stored);
    try { localStorage.setItem("netwright-theme", stored); } catch { /* not kept */ }
  });
}

theme();
if (frozen) {
  for (const link of document.querySelectorAll("[data-live]")) link.remove();
  if (!location.hash && exportedRun) history.replaceState(null, "", runLink(exportedRun));
} else watchServer();
window.addEventListener("hashchange", () => show());
show();
