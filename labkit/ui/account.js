// The page's half of account.py.

const LIFE = [
  ["received", "received"],
  ["processing", "processing"],
  ["processed", "processed"],
];
const SIGNS = { acked: "✓", refused: "✕", unknown: "?", processed: "✓✓", deposit: "+" };

export default {
  render({ model, el }) {
    const id = `lk-account-${Math.random().toString(36).slice(2, 8)}`;
    const made = makePane(model, el, { name: "account", title: "Account", id });
    const block = (name, title, ...children) =>
      h("section", { class: `lk-${name}`, "aria-labelledby": `${id}-${name}` }, h("h3", { id: `${id}-${name}` }, title), ...children);
    const table = (label, heads, empty) => {
      const rows = h("tbody", {});
      const none = h("p", { class: "lk-muted" }, empty);
      const cells = heads.map(([text, num]) => h("th", { scope: "col", class: num ? "lk-num" : null }, text));
      const scroll = h(
        "div",
        { class: "lk-scroll", tabindex: 0, role: "region", "aria-label": label },
        h("table", { class: "lk-table" }, h("thead", {}, h("tr", {}, ...cells)), rows),
      );
      return { rows, none, scroll };
    };
    const cellsOf = (kinds) => h("tr", {}, ...kinds.map((num) => h("td", { class: num ? "lk-num" : null })));

    // money

    const balance = h("b", { class: "lk-money lk-num" }, "—");
    const worth = h("dd", { class: "lk-num" });
    const profit = h("dd", { class: "lk-num" });
    const amount = h("input", {
      id: `${id}-amount`,
      type: "number",
      min: 0.01,
      step: 0.01,
      value: "10000.00",
      inputmode: "decimal",
    });
    const add = h("button", { type: "submit" }, "Add money");
    const told = h("p", { class: "lk-muted", role: "status" });
    const deposit = h(
      "form",
      {
        class: "lk-row",
        submit: (event) => {
          event.preventDefault();
          if (Number(amount.value) > 0) model.send({ do: "deposit", amount: amount.value, clicked_ms: Date.now() });
        },
      },
      h("label", { for: amount.id, class: "lk-only-read" }, "Amount to add"),
      amount,
      add,
    );
    const funds = block(
      "balance",
      "Balance",
      balance,
      h(
        "dl",
        { class: "lk-sums" },
        h("dt", {}, "Positions are worth"),
        worth,
        h("dt", {}, "Profit or loss"),
        profit,
      ),
      deposit,
      told,
    );

    const positions = table("Positions", [["Symbol"], ["Shares", 1], ["Price", 1], ["Worth", 1], ["Profit or loss", 1]], "You hold nothing yet.");
    const orders = table("Orders, the newest first", [["Order"], ["What"], ["Price", 1], ["Its life"]], "No order yet.");
    const notices = h("ol", { class: "lk-notices lk-scroll", tabindex: 0, "aria-label": "Notifications, the newest first" });
    made.body.append(
      h(
        "div",
        { class: "lk-account-all" },
        funds,
        block("positions", "Positions", positions.scroll, positions.none),
        block("orders", "Order history", orders.scroll, orders.none),
        block("notifications", "Notifications", notices),
      ),
    );

    const fill = ({ rows, none, scroll }, items, key, kinds, update) => {
      none.hidden = items.length > 0;
      scroll.hidden = !items.length;
      keyed(rows, items, key, () => cellsOf(kinds), (row, item) => update([...row.children], item, row));
    };
    const drawLife = (cell, order) => {
      const done = LIFE.filter(([key]) => order.life[key]);
      const text = done
        .map(([key, word], i) => {
          const since = i ? ` +${milliseconds(Math.max(0, order.life[key] - order.life.received))}` : "";
          return `${word}${since}`;
        })
        .join(" → ");
      write(cell, text || order.status);
      mark(cell, { title: done.map(([key, word]) => `${word} ${clockTime(order.life[key])}`).join(", ") });
    };
    const draw = () => {
      const view = model.get("view");
      tellAge(made.age, view);
      write(balance, view.balance == null ? "—" : money(view.balance));
      const held = view.positions ?? [];
      const sum = (key) => held.reduce((total, one) => total + Number(one[key] ?? 0), 0);
      write(worth, held.length ? money(sum("worth")) : "—");
      write(profit, held.length ? money(Math.abs(sum("profit"))) : "—");
      profit.className = `lk-num lk-${trend(held.length ? sum("profit") : 0)}`;
      deposit.hidden = !view.deposit;
      write(told, view.deposit?.text ?? "");
      add.disabled = view.deposit?.state === "sending";
      fill(positions, held, (p) => p.symbol, [0, 1, 1, 1, 1], (cells, p) => {
        write(cells[0], p.symbol);
        write(cells[1], p.quantity.toLocaleString("en"));
        write(cells[2], p.price == null ? "—" : money(p.price));
        write(cells[3], p.worth == null ? "—" : money(p.worth));
        write(cells[4], p.profit == null ? "—" : money(Math.abs(p.profit)));
        cells[4].className = `lk-num lk-${trend(p.profit ?? 0)}`;
      });
      fill(orders, view.orders ?? [], (o) => o.id, [0, 0, 1, 0], (cells, o, row) => {
        write(cells[0], String(o.number));
        write(cells[1], `${o.side === "buy" ? "Buy" : "Sell"} ${o.quantity.toLocaleString("en")} ${o.symbol}`);
        write(cells[2], money(o.price));
        drawLife(cells[3], o);
        mark(row, { "data-status": o.status });
      });
      keyed(
        notices,
        view.notices ?? [],
        (n) => n.number,
        (n) => h("li", { "data-kind": n.kind }, h("span", { class: "lk-num lk-muted" }, clockTime(n.at_ms)), h("b", {}, SIGNS[n.kind] ?? "•"), h("span", {}, n.text)),
      );
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
