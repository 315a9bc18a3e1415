// The page's half of watchlist.py.

export default {
  render({ model, el }) {
    const id = `lk-watch-${Math.random().toString(36).slice(2, 8)}`;
    const made = makePane(model, el, { name: "watchlist", title: "Market", id });
    const list = h("ul", { class: "lk-watch" });
    made.body.append(list);

    const make = ({ symbol }) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", click: () => model.send({ do: "choose", symbol }) },
          h("span", { class: "lk-watch-what" }, h("b", {}), h("span", { class: "lk-muted" })),
          h("span", { class: "lk-watch-price" }, h("span", { class: "lk-num" }), h("span", { class: "lk-num lk-change" })),
        ),
      );
    const update = (item, { symbol, name, price, change, moves }) => {
      const button = item.firstChild;
      const [what, value] = button.children;
      write(what.children[0], symbol);
      write(what.children[1], name);
      write(value.children[0], money(price));
      write(value.children[1], change == null ? "" : money(Math.abs(change)));
      value.children[1].className = `lk-num lk-change lk-${trend(change ?? 0)}`;
      if (item.moves !== undefined && moves !== item.moves && !calm.matches) {
        item.classList.remove("lk-moved");
        void item.offsetWidth; // begin the animation anew
        item.classList.add("lk-moved");
      }
      item.moves = moves;
      const way = change > 0 ? "up" : "down";
      mark(button, {
        "aria-pressed": String(symbol === model.get("view").symbol),
        "aria-label": `${symbol}, ${name}, ${money(price)}${change ? `, ${way} ${money(Math.abs(change))} by its orders` : ""}`,
      });
    };
    const draw = () => {
      const view = model.get("view");
      tellAge(made.age, view);
      if (!view.fresh && !view.problem && view.seen_ms) {
        const old = view.behind ? `${seconds(view.stale_s)} old, ${view.behind} orders behind` : "up to date";
        write(made.age, `nearby copy: ${old}`);
        made.age.classList.toggle("lk-late", view.behind > 0);
      }
      keyed(list, view.rows ?? [], (row) => row.symbol, make, update);
    };
    model.on("change:view", draw);
    const stop = every(1000, draw);
    return () => {
      stop();
      model.off("change:view", draw);
      made.close();
    };
  },
};
