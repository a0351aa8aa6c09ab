// Elements as nested calls; text only ever becomes text nodes.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "width%") element.style.width = `${value}%`;
    else if (name === "left%") element.style.marginLeft = `${value}%`;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export function replace(element, ...children) {
  element.replaceChildren();
  return fill(element, {}, children);
}

// A drawing that the server made; parsed as XML, it cannot run anything under the page's policy.
export function drawing(text) {
  const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (parsed.nodeName !== "svg") return h("p", { class: "note" }, "the drawing cannot be shown");
  for (const bad of parsed.querySelectorAll("script, foreignObject")) bad.remove();
  return document.importNode(parsed, true);
}

export const section = (title, ...children) => h("section", {}, h("h2", {}, title), ...children);
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value, note]) =>
  h("div", {}, h("dt", {}, name), h("dd", {}, value, note ? h("small", {}, note) : null))));
export const nothing = (text) => h("p", { class: "nothing" }, text);

// columns: [{title, cell(row), num, head}]; a row of the body may be marked.
export function table(columns, rows, { caption, mark } = {}) {
  const head = columns.map((c) => h("th", { scope: "col", class: c.num ? "num" : null }, c.head || c.title));
  const body = rows.map((row) => h("tr", { class: mark && mark(row) ? "strong" : null },
    columns.map((c, i) => h(i ? "td" : "th", { scope: i ? null : "row", class: c.num ? "num" : null }, c.cell(row)))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption || "table" },
    h("table", {}, caption ? h("caption", {}, caption) : null, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}
