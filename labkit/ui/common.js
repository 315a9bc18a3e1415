// What the pages' halves of all widgets share. It stands before each of them in one module.

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** `h("div", { class: "x" }, ...children)`: an element; text is never read as HTML. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Write a text only when it changed: a selection in it, and what a screen reader reads, stay. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove attributes, only where they changed. */
function mark(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
}

/** One child of `parent` for each item, made once for each key, in the order of the items. */
function keyed(parent, items, keyOf, make, update) {
  const had = (parent.keyed ??= new Map());
  const keys = new Set(items.map(keyOf));
  for (const [key, element] of had) {
    if (keys.has(key)) continue;
    element.remove();
    had.delete(key);
  }
  items.forEach((item, i) => {
    const key = keyOf(item);
    if (!had.has(key)) had.set(key, make(item));
    const element = had.get(key);
    update?.(element, item);
    if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
  });
}

const seconds = (s) => `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
const milliseconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : seconds(ms / 1000));
const ago = (ms) => {
  const s = Math.max(0, Date.now() - ms) / 1000;
  if (s < 100) return `${Math.round(s)} s ago`;
  return s < 6000 ? `${Math.round(s / 60)} min ago` : `${Math.round(s / 3600)} h ago`;
};
const clockTime = (ms) => new Date(ms).toLocaleTimeString("en-GB");
const money = (value) =>
  Number(value).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const signed = (value) => `${value > 0 ? "+" : value < 0 ? "\u2212" : ""}${money(Math.abs(value))}`;
const trend = (value) => (value > 0 ? "up" : value < 0 ? "down" : "flat");

/** Where the notebook server (JupyterLab, Notebook, voila) serves labkit's static files. */
function moduleUrl(name) {
  const node = document.getElementById("jupyter-config-data");
  const config = node ? JSON.parse(node.textContent) : {};
  const base = config.fullLabextensionsUrl ?? `${config.baseUrl ?? "/"}lab/extensions`;
  return new URL(`${base.replace(/\/$/, "")}/labkit/${name}`, location.href).href;
}

/** plotly.js, once a page: the browser keeps one module per address. */
async function loadPlotly({ module, problem }) {
  if (!module) throw new Error(problem);
  const url = moduleUrl(module);
  try {
    return (await import(/* webpackIgnore: true */ url)).default;
  } catch (error) {
    throw new Error(
      `plotly.js did not load from ${url} (${error.message}). ` +
        "Start the notebook server from the environment that labkit is installed in.",
    );
  }
}

/** Call `f` now and every `ms` while the element is on a page; returns what ends it. */
function every(ms, f) {
  const timer = setInterval(f, ms);
  f();
  return () => clearInterval(timer);
}

const SILENT_MS = 5000;

/**
 * A pane: its frame, its heading, and a note when the kernel is not heard of any more.
 * Whatever is in `body` cannot be used while that is so: a click would be kept by the browser and
 * come to the database when nobody expects it.
 */
function makePane(model, el, { name, title, id }) {
  const heading = h("h2", { id: `${id}-title` }, title);
  const age = h("span", { class: "lk-age" });
  const again = h("button", { type: "button", click: () => location.reload() }, "Reload the page");
  const words = h("span", {});
  const silence = h("div", { class: "lk-silence", role: "alert", hidden: true }, words, again);
  const body = h("div", { class: "lk-body" });
  const pane = h(
    "section",
    { class: `lk-pane lk-${name}`, "aria-labelledby": `${id}-title` },
    h("header", { class: "lk-pane-head" }, heading, age),
    silence,
    body,
  );
  el.replaceChildren(pane);

  let heard = Date.now();
  let died = false;
  const kernel = model.widget_manager?.kernel;
  const onStatus = (_, status) => {
    if (["dead", "autorestarting", "restarting"].includes(status)) died = true;
  };
  kernel?.statusChanged?.connect(onStatus);
  let silent = false;
  const hear = () => {
    heard = Date.now();
    if (silent) check();
  };
  const check = () => {
    silent = died || Date.now() - heard > SILENT_MS;
    pane.classList.toggle("lk-silent", silent);
    body.inert = silent;
    silence.hidden = !silent;
    if (!silent) return;
    const since = `What you see is from ${clockTime(heard)}. `;
    if (died || kernel?.status === "dead") {
      write(words, `The kernel behind this page has died. ${since}Acknowledged orders are safe. `);
    } else if (kernel?.connectionStatus && kernel.connectionStatus !== "connected") {
      const again = kernel.connectionStatus === "connecting" ? "; it is tried again" : "";
      write(words, `The connection to the kernel is lost${again}. ${since}`);
    } else {
      write(words, `No message from the kernel for ${ago(heard).replace(" ago", "")}. ${since}`);
    }
  };
  // whatever it sends shows that it lives: a pane has nothing to tell while no answer comes
  kernel?.iopubMessage?.connect(hear);
  model.on("change:view", hear);
  const stop = every(1000, check);
  return {
    pane,
    body,
    heading,
    age,
    close: () => {
      stop();
      model.off("change:view", hear);
      kernel?.iopubMessage?.disconnect(hear);
      kernel?.statusChanged?.disconnect(onStatus);
    },
  };
}

/** How old what is shown is, in the pane's head: told when it is worth telling. */
function tellAge(age, view) {
  if (!view.seen_ms) return write(age, view.problem ? `no answer: ${view.problem}` : "asking…");
  const late = Date.now() - view.seen_ms > 3000;
  age.classList.toggle("lk-late", late || Boolean(view.problem));
  const problem = view.problem ? ` · ${view.problem}` : "";
  write(age, late || problem ? `as of ${ago(view.seen_ms)}${problem}` : "live");
}
