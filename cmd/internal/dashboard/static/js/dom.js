// Elements from data, and a page brought to its next state without losing focus, selection or what the user has opened.

const SVG = "http://www.w3.org/2000/svg";
const handlers = ["onclick", "onchange", "oninput", "onsubmit", "onkeydown", "ontoggle", "onpointerdown"];

// h makes an HTML element: h("p", {class: "x", onclick: f}, "text", child, [more], null). Text is always text, never markup.
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

// s makes an SVG element.
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

function fill(el, props, children) {
  for (const [k, v] of Object.entries(props ?? {})) {
    if (v === null || v === undefined || v === false) continue;
    if (k.startsWith("on")) el[k] = v;
    else if (k === "value" || k === "checked" || k === "open" || k === "disabled" || k === "selected") setState(el, k, v);
    else el.setAttribute(k, v === true ? "" : v);
  }
  append(el, children);
  return el;
}

function setState(el, k, v) {
  if (k === "value" && !("value" in el)) el.setAttribute(k, v);
  else el[k] = v;
  if (k === "value" && (el.tagName === "OPTION" || el.tagName === "PROGRESS")) el.setAttribute(k, v);
}

function append(el, children) {
  for (const c of children.flat(Infinity)) {
    if (c === null || c === undefined || c === false) continue;
    el.append(c instanceof Node ? c : String(c));
  }
}

// patch makes root's children equal to nodes. Elements with a data-key are matched by it, others by place. What lies in an
// element with data-island belongs to somebody else (a chart) and is left alone.
export function patch(root, nodes) {
  const want = nodes.flat(Infinity).filter((n) => n !== null && n !== undefined && n !== false)
    .map((n) => (n instanceof Node ? n : document.createTextNode(String(n))));
  const keyed = new Map();
  for (const c of root.children) if (c.dataset?.key) keyed.set(c.dataset.key, c);
  let at = root.firstChild;
  for (const next of want) {
    const old = (next.dataset?.key && keyed.get(next.dataset.key)) || at;
    if (old && old.parentNode === root && same(old, next)) {
      if (old !== at) root.insertBefore(old, at);
      else at = at.nextSibling;
      morph(old, next);
    } else root.insertBefore(next, at);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.dataset?.key === b.dataset?.key;

function morph(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const a of [...old.attributes]) if (!next.hasAttribute(a.name) && !kept(old, a.name)) old.removeAttribute(a.name);
  for (const a of next.attributes) if (old.getAttribute(a.name) !== a.value && !kept(old, a.name)) old.setAttribute(a.name, a.value);
  for (const k of handlers) if (old[k] !== next[k]) old[k] = next[k];
  if ("disabled" in old && old.disabled !== next.disabled) old.disabled = next.disabled;
  if (old.dataset?.island !== undefined) return;
  patch(old, [...next.childNodes]);
  if (old === document.activeElement) return; // what is being typed stays
  if (old.tagName === "INPUT" || old.tagName === "SELECT") {
    if (old.value !== next.value) old.value = next.value;
    if (old.checked !== next.checked) old.checked = next.checked;
  }
}

// kept says whether an attribute is the user's or a chart's doing.
const kept = (el, name) => (el.tagName === "DETAILS" && name === "open") || (el.dataset?.island !== undefined && name === "style");
