// Figures name their colors as CSS variables, so one set of figures serves both themes.
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const boxes = [...document.querySelectorAll(".figure")];
  const hidden = new Set();
  const NARROW = 560; // pixels; below, long labels go above their rows
  const config = { responsive: true, displayModeBar: false, displaylogo: false, scrollZoom: false };

  const colored = (part, css) => {
    if (typeof part === "string") {
      return part.replace(/^var\((--[\w-]+)\)$/, (_, name) => css.getPropertyValue(name).trim());
    }
    if (Array.isArray(part)) return part.map((item) => colored(item, css));
    if (part === null || typeof part !== "object") return part;
    return Object.fromEntries(Object.entries(part).map(([key, item]) => [key, colored(item, css)]));
  };

  const ticksAbove = (layout) => {
    const { tickvals, ticktext, tickfont } = layout.yaxis;
    layout.annotations = tickvals.map((y, i) => ({
      y, text: ticktext[i], font: tickfont, x: 0, xref: "paper", xanchor: "left",
      yshift: 17, showarrow: false,
    }));
    layout.yaxis.showticklabels = false;
    layout.yaxis.range[1] += 0.4;
    layout.height *= 1.5;
  };

  const labelNarrow = (trace) => {
    trace.mode = trace.meta.narrow ? "markers+text" : "markers";
    trace.textposition = trace.meta.narrow ?? "top center";
  };

  const draw = (box) => {
    const views = figures[box.dataset.figure];
    const { data, layout } = colored(views[box.dataset.view].figure, getComputedStyle(root));
    for (const trace of data) trace.visible = !hidden.has(trace.meta?.variant);
    const narrow = box.clientWidth < NARROW;
    if (narrow && layout.meta?.longTicks) ticksAbove(layout);
    for (const trace of narrow ? data : []) {
      if (trace.meta && "narrow" in trace.meta) labelNarrow(trace);
    }
    box.style.height = `${layout.height}px`;
    Plotly.react(box, data, layout, config);
  };

  const drawAll = () => boxes.forEach(draw);

  let width = innerWidth;
  addEventListener("resize", () => {
    if ((width < NARROW) !== (innerWidth < NARROW)) drawAll();
    width = innerWidth;
  });

  for (const tabs of document.querySelectorAll(".tabs")) {
    const box = document.getElementById(tabs.dataset.shows);
    const buttons = [...tabs.querySelectorAll("button")];
    const choose = (place) => {
      buttons.forEach((button, i) => {
        button.setAttribute("aria-selected", i === place);
        button.tabIndex = i === place ? 0 : -1;
      });
      box.dataset.view = place;
      draw(box);
    };
    buttons.forEach((button, i) => {
      button.addEventListener("click", () => choose(i));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = (i + step + buttons.length) % buttons.length;
        choose(next);
        buttons[next].focus();
      });
    });
  }

  for (const button of document.querySelectorAll(".variants button")) {
    button.addEventListener("click", () => {
      const variant = Number(button.dataset.variant);
      if (!hidden.delete(variant)) hidden.add(variant);
      button.setAttribute("aria-pressed", !hidden.has(variant));
      drawAll();
    });
  }

  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = (theme) => {
    root.dataset.theme = theme;
    document.querySelector(".theme span").textContent = theme === "dark" ? "Light" : "Dark";
    drawAll();
  };
  document.querySelector(".theme").addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("sparring-theme", theme); } catch { /* not stored */ }
    show(theme);
  });
  system.addEventListener("change", () => show(chosenTheme()));
  show(root.dataset.theme);
})();
