"use strict";
// The strip under a rollout: its PSNR per frame, the context hatched, revisits marked at the foot. Drawn when it comes
// into view.
(() => {
  const { first, end, context, strips, revisits } = mstv.data;
  const frames = end - first;
  let low = Infinity, high = -Infinity; // of all strips: they share one scale
  for (const value of strips.flat(2)) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const range = Math.max(high - low, 1);
  const x = (frame) => (((frame - first) / frames) * 1000).toFixed(1);
  const y = (value) => (90 - ((value - low) / range) * 82).toFixed(1);

  function path(svg, name, d) {
    const line = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    line.setAttribute("class", name);
    line.setAttribute("d", d);
    line.setAttribute("vector-effect", "non-scaling-stroke");
    return line;
  }

  function values(figure) {
    const row = figure.closest("article").dataset.row;
    return [strips[row][[...figure.parentElement.children].indexOf(figure)], revisits[row]];
  }

  mstv.drawStrip = (figure) => {
    const strip = figure.querySelector(".strip");
    if (!strip || strip.firstChild) return;
    const [psnr, known] = values(figure);
    const svg = strip.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
    svg.setAttribute("viewBox", "0 0 1000 100");
    svg.setAttribute("preserveAspectRatio", "none");
    if (known?.frames.length) path(svg, "marks", known.frames.map((frame) => `M${x(frame)} 97H${x(frame + 1)}`).join(""));
    const line = path(svg, "curve", "M" + psnr.map((value, index) => `${x(context + index + 0.5)} ${y(value)}`).join("L"));
    line.style.stroke = `var(--run-${figure.dataset.run % 8})`;
    strip.title = `PSNR per frame; all strips share the scale ${low.toFixed(1)} to ${high.toFixed(1)} dB`;
    strip.style.setProperty("--context", Math.min(Math.max((context - first) / frames, 0), 1));
    strip.append(document.createElement("output"));
    strip.psnr = psnr;
    const jump = (event) => {
      const area = strip.getBoundingClientRect();
      mstv.player.go(first + Math.floor(((event.clientX - area.left) / area.width) * frames));
    };
    strip.addEventListener("pointerdown", jump);
    strip.addEventListener("pointermove", (event) => event.buttons && jump(event));
  };

  mstv.showStrip = (figure, frame) => {
    const strip = figure.querySelector(".strip");
    if (!strip) return;
    strip.style.setProperty("--at", (frame - first + 0.5) / frames);
    const value = strip.psnr[frame - context];
    strip.lastChild.textContent = value === undefined ? "context" : `${value.toFixed(1)} dB`;
  };
})();
