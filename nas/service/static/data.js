// Where the views come from: the service, or what a static export holds in itself.

const BASE = "api/v1/";
const held = document.getElementById("views");
const views = held ? JSON.parse(held.textContent) : null;

export const frozen = views !== null; // a static export: nothing changes, nothing can be started
export const exportedRun = frozen ? views.run : null;

export class Problem extends Error {
  constructor(message, gone = false, field = null) {
    super(message);
    this.gone = gone; // the server does not answer
    this.field = field;
  }
}

const watchers = new Set();
let away = false;
export const onReach = (watcher) => watchers.add(watcher);
export function reached(there) {
  if (away !== there) return; // no change
  away = !there;
  for (const watcher of watchers) watcher(there);
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(BASE + path, options);
  } catch {
    reached(false);
    throw new Problem("the server does not answer", true);
  }
  reached(true);
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  const error = body && body.error;
  const told = error ? [error.field, error.rule].filter(Boolean).join(": ") : `the server answered ${answer.status}`;
  throw new Problem(told, false, error && error.field);
}

export async function get(path) {
  if (!frozen) return ask(path, { headers: { accept: "application/json" } });
  const key = path.split("?")[0];
  if (key in views.views) return views.views[key];
  throw new Problem("this is not in the exported file; it holds the Pareto set, the finalists and the winner");
}

export const has = (path) => !frozen || path.split("?")[0] in views.views;
export const post = (path, body) => ask(path, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body === undefined ? {} : body),
});
export const fileOf = (run, path) => `${BASE}runs/${encodeURIComponent(run)}/artifacts/${path.split("/").map(encodeURIComponent).join("/")}`;

// Server-sent events of a run; the browser reconnects by itself. Gives the function that ends it.
export function follow(run, handlers) {
  if (frozen || typeof EventSource === "undefined") return () => {};
  const source = new EventSource(`${BASE}runs/${encodeURIComponent(run)}/stream`);
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => {
      reached(true);
      let data = null;
      try { data = JSON.parse(event.data); } catch { return; }
      handle(data);
    });
  }
  let again = null;
  source.onopen = () => reached(true);
  source.onerror = () => {
    fetch(`${BASE}health`).then(() => reached(true), () => reached(false));
    if (source.readyState === EventSource.CLOSED && !again) again = setTimeout(() => { end(); ended = follow(run, handlers); }, 3000);
  };
  let ended = null;
  function end() { clearTimeout(again); source.close(); if (ended) ended(); }
  return end;
}
