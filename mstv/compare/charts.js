"use strict";
// Curves against the horizon and training curves. Colours come from the style sheet, so charts follow light and dark.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const runColor = (run) => color(`--run-${run % 8}`);
  const dashes = { generated: "solid", upper_bound: "dash", lower_bound: "dot" };
  const config = { displayModeBar: false, responsive: true };
  const pressed = (name) => document.querySelector(`[data-${name}][aria-pressed="true"]`)?.dataset[name];

  function layout(height, xTitle, xType) {
    const axis = { gridcolor: color("--line"), linecolor: color("--line"), zeroline: false, automargin: true, fixedrange: true };
    return {
      height, margin: { l: 44, r: 12, t: 10, b: 40 }, showlegend: false, hovermode: "x unified", dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: color("--ink") },
      hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--ink") } },
      xaxis: { ...axis, title: { text: xTitle }, type: xType }, yaxis: { ...axis, nticks: 7 },
    };
  }

  function transparent(hex, alpha) {
    return hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
  }

  function traces(panel) {
    const found = [];
    for (const curve of panel.curves) {
      const ink = curve.run === null ? color("--soft") : runColor(curve.run);
      if (curve.series === "generated" && curve.low) {
        found.push({ x: curve.x, y: curve.low, mode: "lines", line: { width: 0 }, hoverinfo: "skip" });
        found.push({ x: curve.x, y: curve.high, mode: "lines", line: { width: 0 }, hoverinfo: "skip", fill: "tonexty", fillcolor: transparent(ink, 0.18) });
      }
      const width = curve.series === "generated" ? 2 : 1.4;
      found.push({ x: curve.x, y: curve.y, name: curve.label, mode: curve.x.length > 1 ? "lines" : "markers", line: { color: ink, width, dash: dashes[curve.series] }, hovertemplate: "%{y:.4~g}" });
    }
    return found;
  }

  // All boxes stand before the first chart is drawn: a chart takes the width that its box has at that moment.
  function boxes(parent, titles) {
    while (parent.children.length > titles.length) parent.lastChild.remove();
    while (parent.children.length < titles.length) {
      const chart = parent.appendChild(document.createElement("div"));
      chart.className = "chart";
      chart.append(document.createElement("h3"), document.createElement("div"));
    }
    return titles.map((title, index) => {
      parent.children[index].firstChild.textContent = title;
      return parent.children[index].lastChild;
    });
  }

  function drawCurves() {
    const scale = pressed("scale"), truth = pressed("truth") ?? data.panels[0]?.truth;
    const shown = data.panels.filter((panel) => panel.truth === truth);
    const parent = document.getElementById("curve-charts");
    const places = boxes(parent, shown.map((panel) => `${panel.title} against ${panel.truth} frames`));
    shown.forEach((panel, index) => {
      const wanted = layout(320, "horizon (frames)", scale);
      if (scale === "log") {
        const last = Math.max(...panel.curves.map((curve) => curve.x.at(-1)));
        const ticks = [];
        for (let tick = 1; tick <= last; tick *= 4) ticks.push(tick);
        if (Math.log2(last / ticks.at(-1)) > 0.7) ticks.push(last);
        Object.assign(wanted.xaxis, { tickvals: ticks, ticktext: ticks.map(String) });
      }
      Plotly.react(places[index], traces(panel), wanted, config);
    });
    drawLegend(shown);
  }

  function drawLegend(shown) {
    const legend = document.getElementById("legend");
    const seen = new Map(shown.flatMap((panel) => panel.curves).map((curve) => [curve.label, curve]));
    legend.replaceChildren(...[...seen.values()].map((curve) => {
      const item = document.createElement("span");
      const dash = { solid: "none", dash: "6 4", dot: "2 3" }[dashes[curve.series]];
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("width", 30);
      svg.setAttribute("height", 8);
      svg.setAttribute("aria-hidden", "true");
      const line = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
      line.setAttribute("d", "M0 4H30");
      line.setAttribute("stroke-width", curve.series === "generated" ? 2.5 : 1.6);
      line.setAttribute("stroke-dasharray", dash);
      line.style.stroke = curve.run === null ? "var(--soft)" : `var(--run-${curve.run % 8})`;
      item.append(svg, curve.label);
      return item;
    }));
  }

  function drawTraining() {
    const parent = document.getElementById("training-charts");
    if (!parent) return;
    const places = boxes(parent, data.training.map((quantity) => quantity.name));
    data.training.forEach((quantity, index) => {
      const found = quantity.curves.map((curve) => ({
        x: curve.x, y: curve.y, name: data.runs[curve.run], mode: curve.x.length > 1 ? "lines" : "markers",
        line: { color: runColor(curve.run), width: 1.6 }, hovertemplate: "%{y:.4~g}",
      }));
      const wanted = layout(210, "step", "linear");
      const values = quantity.curves.flatMap((curve) => curve.y).filter((value) => value !== null);
      // A loss that falls by an order of magnitude is unreadable on a linear axis.
      if (Math.min(...values) > 0 && Math.max(...values) > 20 * Math.min(...values)) wanted.yaxis.type = "log";
      Plotly.react(places[index], found, wanted, config);
    });
  }

  function draw() {
    drawCurves();
    drawTraining();
  }

  for (const button of document.querySelectorAll(".switch button")) {
    button.addEventListener("click", () => {
      for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
      drawCurves();
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
