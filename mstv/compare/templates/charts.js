"use strict";
// Curves against the horizon, quality against cost, and training curves. A chart is drawn when it comes into view.
function drawCharts() {
  const { data, style, shown, choice } = mstv;
  const charts = []; // { place, draw, visible, stale }
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const chart = charts.find((other) => other.place === target);
      chart.visible = isIntersecting;
      if (isIntersecting && chart.stale) draw(chart);
    }
  }, { rootMargin: "200px" });

  function draw(chart) {
    chart.stale = false;
    const [traces, layout] = chart.draw();
    Plotly.react(chart.place, traces, layout, style.config);
  }

  function redraw() {
    for (const chart of charts) {
      chart.stale = true;
      if (chart.visible) draw(chart);
    }
  }

  /** A box with a heading; `make()` gives traces and layout, and may change the heading. */
  function add(parent, height, make) {
    const box = parent.appendChild(document.createElement("div"));
    box.className = "chart";
    const heading = box.appendChild(document.createElement("h3"));
    const place = box.appendChild(document.createElement("div"));
    place.style.minHeight = `${height}px`;
    const chart = { place, draw: () => make(heading), visible: false, stale: true };
    charts.push(chart);
    watcher.observe(place);
  }

  function curveTraces(panel) {
    const found = [];
    const curves = panel.curves.filter((curve) => curve.runs.some((run) => shown.has(run)));
    const alpha = curves.filter((curve) => curve.series === "generated").length > 2 ? 0.09 : 0.18;
    for (const curve of curves) {
      const color = style.ink(curve.run);
      const generated = curve.series === "generated";
      if (generated && curve.low) {
        const band = { x: curve.x, mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
        found.push({ ...band, y: curve.low }, { ...band, y: curve.high, fill: "tonexty", fillcolor: style.clear(color, alpha) });
      }
      found.push({
        x: curve.x, y: curve.y, name: curve.label, mode: style.mode(curve.x.length),
        line: { color, width: generated ? 2 : 1.4, dash: style.dash(curve.run, curve.series) }, hovertemplate: "%{y:.4~g}",
      });
    }
    return found;
  }

  // Latents have one ground truth, which is shown whatever frames are compared with.
  const panel = (metric) =>
    data.panels.find((other) => other.metric === metric && [choice.truth, "latents"].includes(other.truth) && other.detail === choice.detail);

  for (const metric of new Set(data.panels.map((other) => other.metric))) {
    add(document.getElementById("curve-charts"), 320, (heading) => {
      const wanted = style.layout(320, "horizon (frames)", choice.scale), found = panel(metric);
      heading.textContent = found ? found.title : `${metric}: not scored against ${choice.truth} frames`;
      if (!found) return [[], wanted];
      if (choice.scale === "log") Object.assign(wanted.xaxis, style.horizonTicks(Math.max(...found.curves.map((curve) => curve.x.at(-1)))));
      return [curveTraces(found), wanted];
    });
  }

  // Columns of the table of costs.
  const COSTS = { 1: "token evaluations per frame", 3: "frames per second" };
  const costs = document.getElementById("cost-charts");
  for (const [column, title] of costs ? Object.entries(COSTS) : []) {
    if (!data.cost.points.some((row) => row[column] !== null)) continue;
    add(costs, 260, (heading) => {
      heading.textContent = `${data.cost.quality}, against ${title}`;
      const wanted = style.layout(260, title, "linear");
      const found = data.cost.points.flatMap((row, run) => row[column] === null || row[0] === null || !shown.has(run) ? [] : [{
        x: [row[column]], y: [row[0]], name: data.runs[run], mode: "markers",
        marker: { color: style.ink(run), size: 11 }, hovertemplate: "%{y:.4~g} at %{x:,.4~g}",
      }]);
      wanted.xaxis.rangemode = "tozero";
      return [found, { ...wanted, hovermode: "closest" }];
    });
  }

  const FIRST_TRAINING = 6; // the others are folded
  data.training.forEach((quantity, index) => {
    add(document.getElementById(index < FIRST_TRAINING ? "training-charts" : "more-training-charts"), 210, (heading) => {
      heading.textContent = quantity.name;
      const curves = quantity.curves.filter((curve) => shown.has(curve.run));
      const wanted = style.layout(210, "step", "linear");
      const values = curves.flatMap((curve) => curve.y).filter((value) => value !== null);
      // A loss that falls by an order of magnitude is unreadable on a linear axis.
      if (Math.min(...values) > 0 && Math.max(...values) > 20 * Math.min(...values)) wanted.yaxis.type = "log";
      return [curves.map((curve) => ({
        x: curve.x, y: curve.y, name: data.runs[curve.run], mode: style.mode(curve.x.length),
        line: { color: style.ink(curve.run), width: 1.6, dash: style.dash(curve.run) }, hovertemplate: "%{y:.4~g}",
      })), wanted];
    });
  });
  const more = document.getElementById("more-training");
  if (data.training.length > FIRST_TRAINING) {
    more.hidden = false;
    more.querySelector("summary").textContent = `${data.training.length - FIRST_TRAINING} more quantities`;
  }

  document.addEventListener("runs", redraw);
  document.addEventListener("choice", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

// The library takes longer than all else, so it waits until the page is painted, which can then be read, sorted and
// played meanwhile. As a file of its own the browser compiles it beside the page; the comment has it do so whole.
addEventListener("load", () => requestAnimationFrame(() => setTimeout(() => {
  const text = document.getElementById("plotly").textContent;
  const script = document.createElement("script");
  script.src = URL.createObjectURL(new Blob(["//# allFunctionsCalledOnLoad\n", text], { type: "text/javascript" }));
  script.addEventListener("load", drawCharts);
  document.head.append(script);
})));
