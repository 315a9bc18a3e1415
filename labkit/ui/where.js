// The page's half of where.py.

export default {
  render({ model, el }) {
    const { regions } = model.get("spec");
    const id = `lk-where-${Math.random().toString(36).slice(2, 8)}`;
    const made = makePane(model, el, { name: "where", title: "Where am I", id });

    const cards = new Map();
    const choice = h("fieldset", { class: "lk-where-regions" }, h("legend", { class: "lk-only-read" }, "Trade from"));
    for (const { name, color } of regions) {
      const input = h("input", {
        type: "radio",
        name: `${id}-region`,
        value: name,
        class: "lk-only-read",
        change: () => model.send({ do: "region", name }),
      });
      const line = (label, told) => {
        const value = h("b", { class: "lk-num" }, "—");
        return [h("span", { class: "lk-where-line", title: told }, h("span", { class: "lk-muted" }, label), value), value];
      };
      const [fresh, freshMs] = line("fresh", "the last read from the node that takes the orders");
      const [nearby, nearbyMs] = line("nearby", "the last read from a copy in this region");
      const [mine, mineMs] = line("my order", "from the click until it was acknowledged");
      const card = h(
        "label",
        { style: `--line:${color}` },
        input,
        h("span", { class: "lk-where-name" }, name),
        fresh,
        nearby,
        mine,
      );
      cards.set(name, { card, input, freshMs, nearbyMs, mineMs });
      choice.append(card);
    }
    const way = (fresh, text, title) =>
      h(
        "label",
        { title },
        h("input", { type: "radio", name: `${id}-fresh`, change: () => model.send({ do: "fresh", fresh }) }),
        text,
      );
    const ways = [
      way(true, "Fresh", "from the node that takes the orders, wherever it is"),
      way(false, "Nearby", "from a copy in this region, as old as that copy"),
    ];
    const stale = h("p", { class: "lk-muted", "aria-live": "off" });
    const quotes = h(
      "div",
      { class: "lk-where-quotes" },
      h("span", { class: "lk-muted" }, "Prices"),
      h("fieldset", { class: "lk-choice" }, h("legend", { class: "lk-only-read" }, "Prices"), ...ways),
      stale,
    );
    made.body.append(h("div", { class: "lk-where-all" }, choice, quotes));

    const read = (element, { ms, problem, seen_ms: seen }) => {
      const age = seen ? ago(seen) : "";
      write(element, ms != null ? milliseconds(ms) : problem ? `✕ ${age.replace(" ago", "")}` : "—");
      mark(element, { title: problem ? `the last answer came ${age || "never"}: ${problem}` : null });
      element.classList.toggle("lk-bad", Boolean(problem));
    };
    const draw = () => {
      const view = model.get("view");
      for (const region of view.regions ?? []) {
        const { card, input, freshMs, nearbyMs, mineMs } = cards.get(region.name);
        const here = region.name === view.region;
        card.classList.toggle("lk-here", here);
        if (here && !input.checked) input.checked = true;
        read(freshMs, region.fresh);
        read(nearbyMs, region.nearby);
        write(mineMs, region.last_ms == null ? "—" : milliseconds(region.last_ms));
        mark(mineMs, {
          title: region.orders ? `${region.orders} acknowledged, median ${milliseconds(region.median_ms)}` : "no order of yours yet",
        });
      }
      const [fresh, nearby] = ways.map((label) => label.firstChild);
      if (view.fresh === true && !fresh.checked) fresh.checked = true;
      if (view.fresh === false && !nearby.checked) nearby.checked = true;
      const mute = (view.regions ?? []).some((region) => region.name === view.region && region.nearby.problem);
      write(
        stale,
        mute ? "the copy nearby does not answer" : view.behind ? `the copy nearby is ${seconds(view.stale_s)} old: ${view.behind} orders behind` : "the copy nearby is up to date",
      );
      stale.classList.toggle("lk-warn", mute || view.behind > 0);
    };
    model.on("change:view", draw);
    draw();
    return () => {
      model.off("change:view", draw);
      made.close();
    };
  },
};
