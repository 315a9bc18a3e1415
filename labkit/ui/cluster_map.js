// The page's half of cluster_map.py.

const SVG = "http://www.w3.org/2000/svg";
const ACTIONS = {
  kill: ["Kill", "like a power cut"],
  stop: ["Stop", "an orderly shutdown"],
  pause: ["Freeze", "alive, but it answers nothing"],
  partition: ["Cut off", "its links become black holes"],
  slow: ["Slow", "its links get slower"],
};
const STATES = {
  working: ["…", "under way"],
  effect: ["✓", "took effect"],
  healed: ["✓", "healed"],
  void: ["!", "did NOT take effect"],
  refused: ["✕", "not done"],
};

/** Where a part stands on the map, and what to call it. */
const at = ([x, y], [width, height] = []) =>
  `left:${x}%;top:${y}%` + (width ? `;width:${width}%;height:${height}%` : "");

export default {
  render({ model, el }) {
    const spec = model.get("spec");
    const id = `lk-map-${model.get("_anywidget_id")}-${Math.random().toString(36).slice(2, 8)}`;
    const made = makePane(model, el, { name: "map", title: "Cluster", id: id.replace(/\W/g, "-") });
    const { body } = made;
    let chosen = null; // { kind, name }
    let asked = null; // the fault that waits for a yes
    let summary;

    // the map

    const lines = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({
      viewBox: "0 0 100 100",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    }))
      lines.setAttribute(name, value);
    const part = (kind, name, attributes, ...children) =>
      h(spec.faults ? "button" : "div", {
        type: spec.faults && "button",
        "data-kind": kind,
        "data-name": name,
        click: () => spec.faults && choose({ kind, name }),
        ...attributes,
      }, ...children);
    const links = new Map();
    const linkLabels = spec.links.map(({ name, path, label }) => {
      const line = document.createElementNS(SVG, "path");
      const [x0, y0, bx, by, x1, y1] = path;
      line.setAttribute("d", `M${x0} ${y0}Q${bx} ${by} ${x1} ${y1}`);
      lines.append(line);
      const text = part("link", name, { class: "lk-link", style: at(label) });
      links.set(name, { line, text });
      return text;
    });
    const regions = new Map();
    const boxes = spec.regions.map(({ name, color, at: place, size }) => {
      const nodes = h("div", { class: "lk-nodes" });
      const services = h("div", { class: "lk-services" });
      const title = part("region", name, { class: "lk-region-name" }, name);
      const box = h(
        "div",
        { class: "lk-region", role: "group", "aria-label": name, style: `${at(place, size)};--line:${color}` },
        h("div", { class: "lk-region-head" }, title, services),
        nodes,
      );
      regions.set(name, { nodes, services, box, title });
      return box;
    });
    const map = h(
      "div",
      { class: "lk-map-field", style: `--aspect:${spec.aspect}` },
      lines,
      ...boxes,
      ...linkLabels,
    );
    const state = h("p", { class: "lk-map-state" });

    const drawPart = (element, { word, glyph, color, healthy, detail, name, number, kind }) => {
      const [sign, label] = element.children;
      write(sign, glyph);
      sign.style.color = color;
      if (number) write(label, `${number} ${word}`);
      element.classList.toggle("lk-unwell", !healthy);
      const told = `${name}: ${word}, ${detail}`;
      mark(element, { title: told, "aria-label": told, "data-word": word, "data-healthy": healthy });
      if (!number) write(label, kind);
    };
    const makePart = (kind, name, attributes) =>
      part(kind, name, attributes, h("span", { class: "lk-sign" }), h("span", { class: "lk-word" }));

    // what can be done

    const what = h("p", { class: "lk-chosen", "aria-live": "polite" });
    const buttons = h("div", { class: "lk-actions" });
    const delay = h("input", { type: "number", min: 1, max: 5000, value: 100, id: `${id}-delay` });
    const delayField = h(
      "div",
      { class: "lk-field lk-delay", hidden: true },
      h("label", { for: `${id}-delay` }, "ms slower each way"),
      delay,
    );
    const healAll = h(
      "button",
      { type: "button", class: "lk-heal-all", click: () => model.send({ do: "heal", target: spec.everything }) },
      "Heal everything",
    );
    const sure = h("div", { class: "lk-sure", role: "alertdialog", "aria-label": "Are you sure?", hidden: true });
    const bar = h("div", { class: "lk-bar", hidden: !spec.faults }, what, buttons, delayField, healAll, sure);
    const logList = h("ol", { class: "lk-log lk-scroll", tabindex: 0, "aria-label": "Faults, the newest first" });
    const log = h("div", { class: "lk-log-frame", hidden: !spec.faults }, h("h3", {}, "What was done"), logList);

    const inject = (kind) => {
      model.send({
        do: "inject",
        kind,
        target: chosen.name,
        delay_ms: kind === "slow" ? Number(delay.value) || 100 : null,
      });
    };
    const press = (kind) => {
      // a whole region is asked about once; everything else is done at once
      if (chosen.kind !== "region" || kind === "slow") return inject(kind);
      asked = kind;
      const yes = h("button", {
        type: "button",
        class: "lk-primary",
        click: () => {
          inject(kind);
          settle();
        },
      }, `Yes, ${ACTIONS[kind][0].toLowerCase()} ${chosen.name}`);
      const no = h("button", { type: "button", click: () => settle() }, "No");
      sure.replaceChildren(h("span", {}, `${ACTIONS[kind][0]} all of ${chosen.name}, ${ACTIONS[kind][1]}?`), yes, no);
      sure.hidden = false;
      yes.focus();
    };
    const settle = () => {
      const back = asked;
      asked = null;
      sure.hidden = true;
      buttons.querySelector(`[data-action="${back}"]`)?.focus();
    };
    sure.addEventListener("keydown", (event) => event.key === "Escape" && settle());

    const choose = (part) => {
      chosen = chosen?.name === part.name ? null : part;
      asked = null;
      sure.hidden = true;
      const kinds = chosen ? spec.kinds[chosen.kind] : [];
      buttons.replaceChildren(
        ...kinds.map((kind) =>
          h("button", { type: "button", "data-action": kind, click: () => press(kind) }, ACTIONS[kind][0]),
        ),
        ...(chosen
          ? [h("button", { type: "button", "data-action": "heal", click: () => model.send({ do: "heal", target: chosen.name }) }, "Heal")]
          : []),
      );
      delayField.hidden = !kinds.includes("slow");
      draw();
    };

    // drawing

    const drawActions = ({ why_not: whyNot = {}, regions: seen = [], links: seenLinks = [] }) => {
      for (const element of map.querySelectorAll("[data-kind]"))
        mark(element, { "aria-pressed": spec.faults ? String(element.dataset.name === chosen?.name) : null });
      for (const button of buttons.children) {
        const reason = whyNot[button.dataset.action];
        button.disabled = Boolean(reason);
        const does = ACTIONS[button.dataset.action]?.[1];
        mark(button, { title: reason ?? does ?? "start it, thaw it, give its links back" });
      }
      const reasons = [...buttons.children].map((b) => whyNot[b.dataset.action]).filter(Boolean);
      if (!chosen) return write(what, "Press a node, a balancer, a region's name or a link to break it.");
      const parts = seen.flatMap((region) => [...region.nodes, ...region.services]);
      const found = parts.find((p) => p.name === chosen.name);
      const link = seenLinks.find((l) => l.name === chosen.name);
      const told = found ? `${found.word}, ${found.detail}` : link ? link.text : "the whole region";
      const why = reasons.length ? ` (${[...new Set(reasons)].join("; ")})` : "";
      write(what, `${chosen.name.replace(":", chosen.kind === "link" ? " ↔ " : ":")}: ${told}${why}`);
    };

    const drawLog = (entries = []) =>
      keyed(
        logList,
        entries,
        (entry) => entry.number,
        () => h("li", {}, h("span", { class: "lk-num" }), h("b", {}), h("span", {}), h("span", { class: "lk-muted" })),
        (row, entry) => {
          const [sign, word] = STATES[entry.state];
          const [time, name, state, detail] = row.children;
          row.dataset.state = entry.state;
          write(time, clockTime(entry.at_ms));
          write(name, `${ACTIONS[entry.action]?.[0] ?? "Heal"} ${entry.target}`);
          const took = entry.took_s == null ? "" : ` after ${seconds(entry.took_s)}`;
          write(state, `${sign} ${word}${took}`);
          write(detail, entry.detail);
        },
      );

    const draw = () => {
      const view = model.get("view");
      tellAge(made.age, view);
      summary = view.summary
        ? `${view.summary}, ${view.healthy ? "all in service" : "not all in service"} · ${view.goal}`
        : "Looking at the cluster…";
      write(state, summary);
      state.classList.toggle("lk-warn", view.healthy === false);
      for (const region of view.regions ?? []) {
        const { nodes, services, box } = regions.get(region.name);
        box.classList.toggle("lk-lost", region.nodes.every((node) => node.state !== "running"));
        keyed(nodes, region.nodes, (n) => n.name, (n) => makePart("node", n.name, { class: "lk-node" }), drawPart);
        keyed(
          services,
          region.services,
          (s) => s.name,
          (s) =>
            s.kind === "lb"
              ? makePart("balancer", s.name, { class: "lk-service" })
              : h("span", { class: "lk-service", role: "img" }, h("span", { class: "lk-sign" }), h("span", { class: "lk-word" })),
          drawPart,
        );
      }
      for (const { name, text, state: link } of view.links ?? []) {
        const { line, text: label } = links.get(name);
        write(label, text);
        line.dataset.state = label.dataset.state = link;
        mark(label, { "aria-label": `link ${name.replace(":", " to ")}: ${text}`, title: `${name.replace(":", " to ")}: round trip` });
      }
      drawActions(view);
      drawLog(view.log);
    };

    body.append(state, map, bar, log);
    model.on("change:view", draw);
    const stop = every(1000, draw);
    return () => {
      stop();
      model.off("change:view", draw);
      made.close();
    };
  },
};
