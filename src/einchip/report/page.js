"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const ranges = {};
  const narrowScreen = window.matchMedia("(max-width: 560px)");

  // Replaces every "var(--name)" by what it is in the theme that is shown.
  function resolved(value, style) {
    if (typeof value === "string") {
      const found = /^var\((--[a-z-]+)\)$/.exec(value);
      return found ? style.getPropertyValue(found[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((v) => resolved(v, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolved(v, style)]));
    }
    return value;
  }

  function layoutOf(name, plot, style) {
    const layout = resolved(plot.layout, style);
    const line = style.getPropertyValue("--line").trim();
    const narrow = narrowScreen.matches;
    for (const key of Object.keys(layout).filter((k) => /^[xy]axis\d*$/.test(k))) {
      layout[key] = {
        gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true,
        ...layout[key],
      };
      if (key === "xaxis") layout[key].nticks = narrow ? 5 : 10;
    }
    if (ranges[name]) layout.xaxis.range = ranges[name].slice();
    return {
      ...layout,
      showlegend: false, dragmode: narrow ? false : "zoom", height: plot.height,
      margin: { l: 8, r: 14, t: 18, b: 8 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {
        color: style.getPropertyValue("--ink").trim(), size: narrow ? 11 : 12,
        family: style.getPropertyValue("--sans").trim(),
      },
      hoverlabel: { font: { size: 12 } },
    };
  }

  function draw() {
    const style = getComputedStyle(root);
    return Promise.all(
      Object.entries(plots).map(([name, plot]) =>
        Plotly.react(
          `plot-${name}`, resolved(plot.data, style), layoutOf(name, plot, style),
          { displayModeBar: false, responsive: true, scrollZoom: false },
        ),
      ),
    );
  }

  function setTheme(theme) {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.dataset.theme = theme;
    button.textContent = `theme: ${theme}`;
    return draw();
  }

  function zoom(chosen) {
    const { plot, from, to } = chosen.dataset;
    ranges[plot] = [Number(from), Number(to)];
    for (const other of document.querySelectorAll(`button[data-plot="${plot}"]`)) {
      other.setAttribute("aria-pressed", String(other === chosen));
    }
    return ranges[plot];
  }

  for (const each of document.querySelectorAll("button[data-plot]")) {
    if ("first" in each.dataset) zoom(each);
    each.addEventListener("click", () => {
      Plotly.relayout(`plot-${each.dataset.plot}`, { "xaxis.range": zoom(each) });
    });
  }
  button.addEventListener("click", () => {
    const now = root.dataset.theme || "auto";
    setTheme(themes[(themes.indexOf(now) + 1) % themes.length]);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  narrowScreen.addEventListener("change", draw);
  setTheme("auto").then(() => { root.dataset.drawn = "yes"; });
})();
