// The page's half of load.py.

const SAYS = {
  off: "No load. Orders of yours are sent all the same.",
  starting: "Starting a client in every region…",
  on: "Every region sends by schedule, answered or not.",
  stopping: "Waiting for the orders in flight…",
};

export default {
  render({ model, el }) {
    const { least, most } = model.get("spec");
    const id = `lk-load-${Math.random().toString(36).slice(2, 8)}`;
    const made = makePane(model, el, { name: "load", title: "Load", id });
    const rate = h("input", { id: `${id}-rate`, type: "number", min: least, max: most, step: 1, inputmode: "numeric" });
    const button = h("button", { type: "submit", class: "lk-primary" });
    const says = h("p", { role: "status" });
    const form = h(
      "form",
      {
        class: "lk-load-form",
        novalidate: "", // the kernel refuses a rate and says why; a browser's bubble is easily missed
        submit: (event) => {
          event.preventDefault();
          if (model.get("view").state === "off") model.send({ do: "start", rate_per_s: rate.valueAsNumber });
          else model.send({ do: "stop" });
        },
      },
      h("label", { for: rate.id }, "Orders a second"),
      rate,
      button,
      says,
    );
    made.body.append(form);
    let offered = null;
    const draw = () => {
      const { state, problem, rate_per_s: now } = model.get("view");
      if (!state) return;
      if (now !== offered) rate.value = offered = now;
      rate.disabled = state !== "off";
      button.disabled = state === "starting" || state === "stopping";
      write(button, state === "off" ? "Start" : state === "on" ? "Stop" : "…");
      mark(button, { "data-state": state });
      write(says, problem || SAYS[state]);
      says.classList.toggle("lk-bad", Boolean(problem));
    };
    model.on("change:view", draw);
    draw();
    return () => {
      model.off("change:view", draw);
      made.close();
    };
  },
};
