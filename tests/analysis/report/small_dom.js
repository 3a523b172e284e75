"use strict";
// As much of a document as the scripts of the pages need, for tests without a browser. `tree`: [tag, attributes, children],
// where a child is a tree or a text.
class Node_ {
  constructor(tag, attributes = {}) {
    Object.assign(this, { tag, attributes: { ...attributes }, nodes: [], parentElement: null, listeners: {}, scrolled: 0 });
    this.classList = {
      contains: (name) => this.className.split(/\s+/).includes(name),
      toggle: (name, on) => {
        const names = this.className.split(/\s+/).filter((one) => one && one !== name);
        this.className = (on ? [...names, name] : names).join(" ");
      },
    };
    this.dataset = new Proxy({}, { get: (_, key) => this.attributes[`data-${String(key)}`] });
  }
  get tagName() { return this.tag.toUpperCase(); }
  get id() { return this.attributes.id ?? ""; }
  get name() { return this.attributes.name ?? ""; }
  get hash() { return this.attributes.href ?? ""; }
  get src() { return this.attributes.src ?? ""; }
  get className() { return this.attributes.class ?? ""; }
  set className(text) { this.attributes.class = text; }
  get hidden() { return "hidden" in this.attributes; }
  set hidden(on) { if (on) this.attributes.hidden = ""; else delete this.attributes.hidden; }
  get value() { return this.typed ?? this.attributes.value ?? (this.tag === "select" ? this.querySelector("option")?.value ?? "" : ""); }
  set value(text) { this.typed = String(text); }
  get children() { return this.nodes.filter((one) => one instanceof Node_); }
  get textContent() { return this.nodes.map((one) => (one instanceof Node_ ? one.textContent : one)).join(""); }
  set textContent(text) { this.nodes = [text]; }
  get rows() { return this.querySelectorAll("tr"); }
  get cells() { return this.children; }
  get cellIndex() { return this.parentElement.children.indexOf(this); }
  get tHead() { return this.querySelector("thead"); }
  get tBodies() { return this.querySelectorAll("tbody"); }
  getAttribute(name) { return this.attributes[name] ?? null; }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  hasAttribute(name) { return name in this.attributes; }
  removeAttribute(name) { delete this.attributes[name]; }
  remove() {
    if (this.parentElement) this.parentElement.nodes = this.parentElement.nodes.filter((one) => one !== this);
    this.parentElement = null;
  }
  append(...nodes) {
    for (const one of nodes) {
      if (one instanceof Node_) {
        one.remove();
        one.parentElement = this;
      }
      this.nodes.push(one);
    }
  }
  replaceChildren(...nodes) { this.nodes = []; this.append(...nodes); }
  replaceWith(node) { this.parentElement.nodes[this.parentElement.nodes.indexOf(this)] = node; node.parentElement = this.parentElement; }
  after(node) { node.parentElement = this.parentElement; this.parentElement.nodes.splice(this.parentElement.nodes.indexOf(this) + 1, 0, node); }
  addEventListener(kind, heard) { (this.listeners[kind] ??= []).push(heard); }
  fire(kind, target = this) {
    (this.listeners[kind] ?? []).forEach((heard) => heard({ target }));
    this.parentElement?.fire(kind, target);
  }
  focus() { Node_.focused = this; }
  getBoundingClientRect() { return { top: this.top ?? 1e6 }; }
  matches(selector) {
    return selector.split(",").some((one) => {
      const [, tag, rest] = /^\s*([\w-]*)(.*?)\s*$/.exec(one);
      return (!tag || tag === this.tag) && [...rest.matchAll(/\.([\w-]+)|#([\w-]+)|\[([\w-]+)(?:="?([^"\]]*)"?)?\]/g)].every(
        ([, name, id, attribute, value]) =>
          name ? this.classList.contains(name) : id ? this.id === id
            : attribute in this.attributes && (value === undefined || this.attributes[attribute] === value));
    });
  }
  closest(selector) { return this.matches(selector) ? this : this.parentElement?.closest(selector) ?? null; }
  querySelectorAll(selector) {
    const paths = selector.split(",").map((one) => one.trim().split(/\s+/));
    const under = (node, path) => {
      if (!node.matches(path.at(-1))) return false;
      let above = node.parentElement;
      for (const part of path.slice(0, -1).reverse()) {
        while (above && !above.matches(part)) above = above.parentElement;
        if (!above) return false;
        above = above.parentElement;
      }
      return true;
    };
    const found = [];
    const walk = (node) => node.children.forEach((one) => {
      if (paths.some((path) => under(one, path))) found.push(one);
      walk(one);
    });
    walk(this);
    return found;
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
}
const grown = ([tag, attributes, children]) => {
  const node = new Node_(tag, attributes);
  node.append(...children.map((one) => (typeof one === "string" ? one : grown(one))));
  return node;
};
globalThis.open = (tree) => {
  const document = new Node_("#document");
  document.append(grown(tree));
  document.createElement = (tag) => new Node_(tag);
  document.documentElement = { scrollHeight: 1e7 };
  Object.assign(globalThis, { document, window: { innerHeight: 900, scrollY: 0 }, requestAnimationFrame: (go) => go() });
  globalThis.setTimeout = (go) => go();
  globalThis.clearTimeout = () => {};
};
