// The page's half of ticket.py.

export default {
  render({ model, el }) {
    const { max_quantity: most } = model.get("spec");
    const id = `lk-ticket-${Math.random().toString(36).slice(2, 8)}`;
    const made = makePane(model, el, { name: "ticket", title: "Trade", id });

    // the slip

    const options = h("datalist", { id: `${id}-symbols` });
    const symbol = h("input", {
      id: `${id}-symbol`,
      list: `${id}-symbols`,
      autocomplete: "off",
      autocapitalize: "characters",
      spellcheck: "false",
      required: true,
      focus: () => symbol.select(),
      change: () => {
        symbol.value = symbol.value.trim().toUpperCase();
        if (known()) model.send({ do: "choose", symbol: symbol.value });
        draw();
      },
    });
    const name = h("span", { class: "lk-muted" });
    const radio = (side, text, checked) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name: `${id}-side`, value: side, checked, change: () => draw() }),
        text,
      );
    const sides = h(
      "fieldset",
      { class: "lk-choice" },
      h("legend", { class: "lk-only-read" }, "Side"),
      radio("buy", "Buy", true),
      radio("sell", "Sell", false),
    );
    const shares = h("input", {
      id: `${id}-shares`,
      type: "number",
      inputmode: "numeric",
      min: 1,
      max: most,
      step: 1,
      value: 10,
      required: true,
      input: () => draw(),
    });
    const price = h("dd", { class: "lk-num lk-price" });
    const cost = h("dd", { class: "lk-num" });
    const costName = h("dt", {});
    const after = h("dd", { class: "lk-num" });
    const submit = h("button", { type: "submit", class: "lk-primary lk-submit" });
    const field = (label, control, ...more) =>
      h("div", { class: "lk-field" }, h("label", { for: control.id }, label), control, ...more);
    const slip = h(
      "form",
      { class: "lk-slip", novalidate: true },
      field("Symbol", symbol, options, name),
      sides,
      field("Shares", shares),
      h(
        "dl",
        { class: "lk-sums" },
        h("dt", {}, "Market price"),
        price,
        costName,
        cost,
        h("dt", {}, "Balance now"),
        after,
      ),
      submit,
    );

    // what became of it

    const outcome = h("div", { class: "lk-outcome", role: "status" });
    const headline = h("b", {});
    const story = h("p", {});
    const askAgain = h("button", { type: "button", click: () => send() }, "Ask again");
    const drop = h("button", { type: "button", click: () => model.send({ do: "drop" }) }, "New ticket");
    const unsure = h("div", { class: "lk-row", hidden: true }, askAgain, drop);
    const amount = h("input", { id: `${id}-amount`, type: "number", min: 0.01, step: 0.01, inputmode: "decimal" });
    const add = h("button", { type: "submit" }, "Add");
    const added = h("span", { class: "lk-muted", role: "status" });
    const deposit = h(
      "form",
      {
        class: "lk-row lk-deposit",
        hidden: true,
        submit: (event) => {
          event.preventDefault();
          if (Number(amount.value) > 0)
            model.send({ do: "deposit", amount: amount.value, clicked_ms: Date.now() });
        },
      },
      h("label", { for: amount.id }, "Add money"),
      amount,
      add,
      added,
    );
    outcome.append(headline, story);
    made.body.append(slip, outcome, unsure, deposit);

    // drawing

    const instruments = () => model.get("view").instruments ?? [];
    const known = () => instruments().find((one) => one.symbol === symbol.value.trim().toUpperCase());
    const side = () => slip.querySelector("input[type=radio]:checked").value;
    const quantity = () => (/^\d+$/.test(shares.value.trim()) ? Number(shares.value) : NaN);
    const valid = () => known() && quantity() >= 1 && quantity() <= most;
    let sent = null; // what this page has sent and the kernel has not taken yet: a second click finds it
    const key = (ticket) => `${ticket.id} ${ticket.clicked_ms}`; // anew with every click taken
    const underWay = (ticket) => ticket.state === "sending" || sent === key(ticket);
    let sentAt = 0;

    const send = () => {
      const { ticket } = model.get("view");
      if (underWay(ticket) || (ticket.state === "new" && !valid())) return;
      sent = key(ticket);
      sentAt = Date.now();
      model.send({
        do: "submit",
        id: ticket.id,
        symbol: known()?.symbol ?? ticket.symbol,
        side: side(),
        quantity: quantity(),
        clicked_ms: Date.now(),
      });
      draw();
    };
    slip.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
    });

    const of = (t) => `${t.side === "buy" ? "Buy" : "Sell"} ${t.quantity.toLocaleString("en")} ${t.symbol}`;
    const drawOutcome = ({ ticket, last, balance, deposit: slipped }) => {
      const t = ticket.state === "new" ? last : ticket;
      const sending = underWay(ticket);
      const state = sending ? "sending" : (t?.state ?? "none");
      outcome.dataset.state = state;
      unsure.hidden = state !== "unknown";
      const poor = state === "refused" && t.error === "InsufficientFunds";
      if (poor && deposit.hidden) {
        const lacks = Number(price.dataset.value) * t.quantity - Number(balance ?? 0);
        amount.value = Math.max(100, Math.ceil(lacks / 1000) * 1000 + 1000).toFixed(2);
      }
      deposit.hidden = !poor;
      write(added, poor && slipped ? slipped.text : "");
      add.disabled = slipped?.state === "sending";
      if (state === "none") {
        write(headline, "");
        write(story, "One ticket is one order: sent twice, it is placed once.");
      } else if (state === "sending") {
        const since = ticket.clicked_ms && ticket.state === "sending" ? (Date.now() - ticket.clicked_ms) / 1000 : 0;
        write(headline, "Sending…");
        write(story, ticket.attempts > 1 ? `attempt ${ticket.attempts}, for ${seconds(since)}` : `through ${ticket.region}`);
      } else if (state === "acked") {
        const again = t.retried ? "; an earlier attempt had placed it" : "";
        write(headline, `✓ Acknowledged in ${milliseconds(t.took_ms)}`);
        write(story, `${of(t)} at ${money(t.price)}, order ${t.number}, through ${t.region}${again}`);
      } else if (state === "refused") {
        write(headline, `✕ Not placed: ${of(t)}`);
        write(story, t.reason);
      } else {
        write(headline, "? Not known whether it is placed");
        write(story, `${of(t)}: ${t.reason}. Ask again: under the same id it cannot be placed twice.`);
      }
      return sending;
    };

    let shown = null;
    const draw = () => {
      const view = model.get("view");
      if (!view.ticket) return;
      // the kernel did not take it; it would not obey so late a click any more
      if (Date.now() - sentAt > 15000) sent = null;
      tellAge(made.age, view);
      keyed(
        options,
        instruments(),
        (one) => one.symbol,
        (one) => h("option", { value: one.symbol }, one.name),
      );
      if (view.symbol !== shown && document.activeElement !== symbol) {
        symbol.value = shown = view.symbol;
      }
      const one = known();
      write(name, one?.name ?? (symbol.value ? "no such instrument" : ""));
      name.classList.toggle("lk-bad", !one && instruments().length > 0);
      mark(symbol, { "aria-invalid": !one && instruments().length > 0 });
      mark(shares, { "aria-invalid": !(quantity() >= 1 && quantity() <= most) });
      price.dataset.value = one?.price ?? "";
      write(price, one ? money(one.price) : "—");
      write(costName, side() === "buy" ? "Estimated cost" : "Estimated proceeds");
      write(cost, one && quantity() ? money(one.price * quantity()) : "—");
      write(after, view.balance == null ? "—" : money(view.balance));
      const sending = drawOutcome(view);
      const unknown = view.ticket.state === "unknown";
      submit.disabled = sending || unknown || !valid();
      const verb = side() === "buy" ? "Buy" : "Sell";
      write(submit, sending ? "Sending…" : `${verb} ${quantity() ? quantity().toLocaleString("en") : ""} ${one?.symbol ?? ""}`);
    };
    model.on("change:view", draw);
    const stop = every(500, draw);
    return () => {
      stop();
      model.off("change:view", draw);
      made.close();
    };
  },
};
