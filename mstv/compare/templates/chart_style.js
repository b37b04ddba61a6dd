"use strict";
// How charts look. Colours come from the style sheet, so charts follow light and dark.
mstv.style = (() => {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const { dashes } = mstv.data;
  const pattern = { upper_bound: "6px,4px", lower_bound: "2px,3px" };

  return {
    config: { displayModeBar: false, responsive: true },
    ink: (run) => (run === null ? color("--soft") : color(`--run-${run % 8}`)),
    dash: (run, series = "generated") => pattern[series] ?? (dashes[Math.floor(run / 8) % dashes.length].replaceAll(" ", "px,") || "solid"),
    mode: (points) => (points > 8 ? "lines" : "lines+markers"),
    clear: (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0"),
    layout(height, xTitle, xType) {
      const axis = { gridcolor: color("--line"), linecolor: color("--line"), zeroline: false, automargin: true, fixedrange: true };
      return {
        height, margin: { l: 44, r: 12, t: 14, b: 46 }, showlegend: false, hovermode: "x unified", dragmode: false,
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: "system-ui, sans-serif", size: 12, color: color("--ink") },
        hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--ink") } },
        xaxis: { ...axis, title: { text: xTitle, standoff: 6 }, type: xType }, yaxis: { ...axis, nticks: 7 },
      };
    },
    /** Powers of four, and the last horizon if it stands free. */
    horizonTicks(last) {
      const ticks = [];
      for (let tick = 1; tick <= last; tick *= 4) ticks.push(tick);
      if (Math.log2(last / ticks.at(-1)) > 0.7) ticks.push(last);
      return { tickvals: ticks, ticktext: ticks.map(String) };
    },
  };
})();
