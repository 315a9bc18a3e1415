// The page's half of live_board.py: keeps the rows that arrive, draws them with plotly.js.

const CELLS = 4; // per region: slowest, p50, acked, failed, as board_figure.COLUMNS
const WINDOW_S = 120;

/** What has arrived so far, column by column because plotly wants columns; shared by all views. */
function makeStore(model) {
  const store = { columns: [], first: 0, next: 0, status: {}, views: new Set() };
  let asked = false;

  const clear = (first) => {
    const { regions = [] } = model.get("spec");
    store.columns = Array.from({ length: 1 + CELLS * regions.length }, () => []);
    store.first = store.next = first;
  };

  const take = (message, buffer) => {
    const { run, keep } = model.get("spec");
    if (message.run !== run) return; // of an earlier run, still on its way
    const missed = message.first > store.next;
    if (missed || message.first < store.first) clear(message.first);
    // what was missed comes back when the kernel has time to answer
    if (missed && !asked) model.send({ do: "snapshot" });
    asked = missed;

    const values = new Float64Array(
      buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength),
    );
    const width = store.columns.length;
    for (let i = (store.next - message.first) * width; i < values.length; i += width) {
      store.columns.forEach((column, k) => column.push(values[i + k]));
      store.next++;
    }
    const extra = store.columns[0].length - keep;
    if (extra > 0) {
      for (const column of store.columns) column.splice(0, extra);
      store.first += extra;
    }
    store.status = message;
    for (const view of store.views) view();
  };

  clear(0);
  const snapshot = model.get("snapshot");
  if (snapshot?.rows) take(snapshot, snapshot.rows);
  model.on("change:spec", () => {
    clear(0);
    store.status = {};
  });
  model.on("msg:custom", (message, buffers) => {
    if (message.type === "rows") take(message, buffers[0]);
  });
  return store;
}

const rate = (value) => (value > 0 && value < 10 ? value.toFixed(1) : Math.round(value).toString());
const latency = (ms) =>
  Number.isNaN(ms) ? "—" : ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en");

function faultText(fault, now) {
  if (!fault) return "";
  const effect = fault.effect === null ? "" : ` · took effect after ${seconds(fault.effect)}`;
  if (fault.healed !== null) return `${fault.label}${effect} · healed after ${seconds(fault.healed)}`;
  return `${fault.label} · ${seconds(Math.max(0, now - fault.injected))} ago${effect}`;
}

/** Whole decades around every latency (traces slowest and p50): an axis that does not twitch. */
function decades(columns, otherwise) {
  let [low, high] = [Infinity, 0];
  columns.forEach((column, i) => {
    if (i % CELLS !== 1 && i % CELLS !== 2) return;
    for (const ms of column) {
      if (ms < low) low = ms; // never true of NaN
      if (ms > high) high = ms;
    }
  });
  return high ? [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))] : otherwise;
}

/** The line above the chart and a card for each region; returns what writes the numbers. */
function makeHeader(spec) {
  const phase = h("span", { class: "lk-phase", role: "status" });
  const fault = h("span", { class: "lk-fault" });
  const clock = h("span", { class: "lk-clock" });
  const cards = spec.regions.map(({ name, color, dash }) => {
    const [slowest, acked, failed, p50] = ["b", "b", "span", "span"].map((tag) => h(tag, {}, "—"));
    const line = { solid: "solid", dot: "dotted" }[dash] ?? "dashed";
    const card = h(
      "div",
      { class: "lk-card", style: `--line: ${color}; --dash: ${line}`, "aria-label": name },
      h("h4", {}, name),
      h("p", { class: "lk-big" }, slowest, h("small", {}, "ms slowest")),
      h("p", { class: "lk-big" }, acked, h("small", {}, "acked/s")),
      h("p", {}, p50, " ms p50"),
      h("p", { class: "lk-failed" }, failed, " failed/s"),
    );
    return { card, slowest, acked, failed, p50 };
  });

  const write = (store) => {
    const last = (column) => store.columns[column].at(-1);
    const now = last(0) ?? 0;
    phase.textContent = phase.dataset.phase = store.status.phase || "waiting";
    fault.textContent = faultText(store.status.fault, now);
    clock.textContent = seconds(now);
    if (!store.columns[0].length) return;
    cards.forEach(({ card, slowest, acked, failed, p50 }, i) => {
      const failures = last(CELLS * i + 4) || 0; // NaN: nothing to draw
      slowest.textContent = latency(last(CELLS * i + 1));
      p50.textContent = latency(last(CELLS * i + 2));
      acked.textContent = rate(last(CELLS * i + 3));
      failed.textContent = rate(failures);
      card.classList.toggle("lk-failing", failures > 0);
      card.classList.toggle("lk-silent", last(CELLS * i + 3) === 0);
    });
  };
  const header = [
    h("div", { class: "lk-head" }, phase, h("h3", {}, spec.title), fault, clock),
    h("div", { class: "lk-cards" }, ...cards.map(({ card }) => card)),
  ];
  return { header, write };
}

/** One plotly chart over the store; returns `draw` and `close`. */
async function makeChart(node, spec, store, redraw) {
  const Plotly = await loadPlotly(spec);
  const { data, layout } = structuredClone(spec.figure);
  const config = { displayModeBar: false, doubleClick: false, responsive: false };
  let following = true;
  let follows = 0;
  let revision = 0;

  const draw = async () => {
    const x = store.columns[0];
    const now = x.at(-1) ?? 0;
    data.forEach((trace, i) => Object.assign(trace, { x, y: store.columns[i + 1] }));
    const range = [Math.max(0, now - WINDOW_S), Math.max(now, 30)];
    await Plotly.react(
      node,
      data,
      {
        ...layout,
        showlegend: false, // the cards are the legend
        datarevision: ++revision, // the arrays are the same objects: without it nothing is drawn
        // a reader who zoomed in keeps the place; a double click follows again
        uirevision: follows,
        xaxis: { ...layout.xaxis, range: following ? range : node.layout.xaxis.range },
        yaxis: { ...layout.yaxis, range: decades(store.columns, layout.yaxis.range) },
        shapes: (store.status.shapes ?? []).map((s) => ({ ...s, x1: s.x1 ?? Math.max(now, s.x0) })),
      },
      config,
    );
  };

  node.replaceChildren();
  await draw();
  node.on("plotly_relayout", (change) => {
    if ("xaxis.range[0]" in change || "xaxis.range" in change) following = false;
  });
  node.on("plotly_doubleclick", () => {
    following = true;
    follows++;
    redraw();
  });
  const sizes = new ResizeObserver(() => node.offsetParent && Plotly.Plots.resize(node));
  sizes.observe(node);
  return {
    draw,
    close: () => {
      sizes.disconnect();
      Plotly.purge(node);
    },
  };
}

export default () => {
  let store;
  return {
    initialize({ model }) {
      store = makeStore(model);
    },

    render({ model, el }) {
      let write = () => {};
      let chart;
      let build = 0; // a run that begins while plotly loads wins over the one before
      let due = false;
      let drawn = 0;

      const step = async (time) => {
        if (!due) return;
        const pause = calm.matches ? 1000 : 250;
        if (time - drawn >= pause && el.isConnected) {
          due = false;
          drawn = time;
          write(store);
          await chart?.draw();
        }
        if (due) setTimeout(() => requestAnimationFrame(step), pause / 4);
      };
      const redraw = () => {
        if (due) return;
        due = true;
        requestAnimationFrame(step);
      };

      const start = async () => {
        const mine = ++build;
        const spec = model.get("spec");
        chart?.close();
        chart = undefined;
        if (!spec.run) return el.replaceChildren(h("div", { class: "lk-board" }, "The live board waits for a run."));
        const made = makeHeader(spec);
        write = made.write;
        const label = "Latency and orders per second, by region";
        const node = h("div", { class: "lk-chart", role: "img", "aria-label": label }, "Loading…");
        const board = h("section", { class: "lk-board lk-figures", "aria-label": "Live board" });
        board.append(...made.header, node);
        el.replaceChildren(board);
        redraw();
        try {
          const loaded = await makeChart(node, spec, store, redraw);
          if (mine === build) chart = loaded;
          else loaded.close();
        } catch (error) {
          node.classList.add("lk-problem");
          node.textContent = `There is no chart, the numbers go on: ${error.message}`;
        }
      };

      store.views.add(redraw);
      model.on("change:spec", start);
      start();
      return () => {
        build++;
        due = false;
        store.views.delete(redraw);
        model.off("change:spec", start);
        chart?.close();
      };
    },
  };
};
