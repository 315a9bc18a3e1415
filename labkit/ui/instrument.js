// The page's half of instrument.py.

export default {
  render({ model, el }) {
    const spec = model.get("spec");
    const id = `lk-one-${Math.random().toString(36).slice(2, 8)}`;
    const made = makePane(model, el, { name: "instrument", title: "—", id });
    const price = h("span", { class: "lk-big-price lk-num" });
    const change = h("span", { class: "lk-num" });
    const chart = h("div", { class: "lk-price-chart", role: "img", "aria-label": "Price, order by order" });
    const none = h("p", { class: "lk-muted lk-no-points" }, "No order has moved this price yet.");
    const about = h("dl", { class: "lk-facts" });
    const statistics = h("dl", { class: "lk-facts" });
    const description = h("p", {});
    const asOf = h("p", { class: "lk-muted" });
    made.body.append(
      h("p", { class: "lk-quote" }, price, change),
      h("div", { class: "lk-figures" }, chart),
      none,
      h(
        "div",
        { class: "lk-known" },
        h("section", { "aria-labelledby": `${id}-about` }, h("h3", { id: `${id}-about` }, "About"), description, about),
        h("section", { "aria-labelledby": `${id}-key` }, h("h3", { id: `${id}-key` }, "Key statistics"), statistics, asOf),
      ),
    );

    let Plotly;
    let drawn = "";
    const { data, layout } = structuredClone(spec.figure);
    const drawChart = async () => {
      const [symbol, ...points] = model.get("points");
      none.hidden = points.length > 0;
      chart.hidden = !points.length;
      const now = `${symbol} ${points.length} ${points.at(-1)}`;
      if (!Plotly || now === drawn || !points.length) return;
      drawn = now;
      data[0].x = points.map(([ms]) => new Date(ms));
      data[0].y = points.map(([, y]) => y);
      mark(chart, { "data-points": points.length });
      // around a single point plotly would show milliseconds
      const [only] = points.length === 1 ? points[0] : [];
      const range = only && [new Date(only - 30000), new Date(only + 30000)];
      await Plotly.react(
        chart,
        data,
        { ...layout, xaxis: { ...layout.xaxis, ...(range && { range }) }, datarevision: now, uirevision: symbol },
        { displayModeBar: false, responsive: false },
      );
    };
    const facts = (list, rows = []) =>
      keyed(
        list,
        rows,
        ([label]) => label,
        ([label]) => h("div", {}, h("dt", {}, label), h("dd", {})),
        (row, [, value]) => write(row.lastChild, value),
      );

    const draw = () => {
      const view = model.get("view");
      tellAge(made.age, view);
      write(made.heading, view.name ? `${view.symbol} · ${view.name}` : (view.symbol ?? "—"));
      write(price, view.price ? money(view.price) : "—");
      write(change, view.change == null ? "" : `${money(Math.abs(view.change))} (${Math.abs(view.percent).toFixed(2)} %) by its orders`);
      change.className = `lk-num lk-${trend(view.change ?? 0)}`;
      write(description, view.description ?? "");
      write(asOf, view.as_of ? `Sample data as of ${view.as_of}.` : "");
      facts(about, view.about);
      facts(statistics, view.statistics);
      drawChart();
    };
    loadPlotly(spec).then(
      (loaded) => {
        Plotly = loaded;
        draw();
      },
      (error) => {
        chart.replaceChildren(h("p", { class: "lk-bad" }, `There is no chart: ${error.message}`));
      },
    );
    const sizes = new ResizeObserver(() => Plotly && chart.data && chart.offsetParent && Plotly.Plots.resize(chart));
    sizes.observe(chart);
    model.on("change:view", draw);
    const stop = every(1000, draw);
    return () => {
      stop();
      sizes.disconnect();
      model.off("change:view", draw);
      if (Plotly && chart.data) Plotly.purge(chart);
      made.close();
    };
  },
};
