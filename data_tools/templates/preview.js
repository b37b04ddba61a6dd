"use strict";
// Each episode has a player of its own. What it tells of a frame follows the frame that the browser presents, not the
// clock: requestVideoFrameCallback names it by its time in the mp4, which is frame / fps.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const articles = [...document.querySelectorAll("article")];
  const SVG = "http://www.w3.org/2000/svg";
  let marked = 0;

  const element = (parent, name, className, text) => {
    const made = parent.appendChild(document.createElement(name));
    made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const shape = (parent, name, attributes, text) => {
    const made = parent.appendChild(document.createElementNS(SVG, name));
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const signed = (value) => (value > 0 ? "+" : "") + Number(value.toPrecision(3));
  const hue = (action) => `var(--hue-${action % 8})`;

  // Discrete actions: their names, the present one lit, and a strip of the whole clip in their colours.
  function discreteGauges(article, { names, rows }) {
    const list = element(article.querySelector(".gauges"), "div", "names");
    const chips = names.map((name, action) => {
      const chip = element(list, "span", "", name);
      chip.style.setProperty("--hue", hue(action));
      return chip;
    });
    const strip = shape(article.querySelector(".strip"), "svg", { viewBox: `0 0 ${rows.length} 1`, preserveAspectRatio: "none" });
    for (let start = 0, end; start < rows.length; start = end) {
      for (end = start + 1; end < rows.length && rows[end] === rows[start]; end++);
      if (rows[start] < 0) continue;
      shape(strip, "rect", { x: start, y: 0, width: end - start, height: 1 }).style.fill = hue(rows[start]);
    }
    const output = article.querySelector(".action");
    return (frame) => {
      const action = rows[frame];
      chips.forEach((chip, index) => chip.classList.toggle("on", index === action));
      output.textContent = action < 0 ? "no action" : names[action];
    };
  }

  // Vectors: buttons that light up, a bar for each other column, and the camera's turn as a dot on the video.
  function vectorGauges(article, { names, units, rows, camera, buttons, limits }) {
    const gauges = article.querySelector(".gauges");
    const output = article.querySelector(".action");
    const list = buttons.length ? element(gauges, "div", "names") : null;
    const chips = buttons.map((column) => [column, element(list, "span", "", names[column])]);
    const others = names.map((_, column) => column).filter((column) => !buttons.includes(column));
    const table = others.length ? element(gauges, "div", "bars") : null;
    const bars = others.map((column) => {
      element(table, "span", "label", names[column]);
      const bar = element(element(table, "span", "bar"), "i", "");
      return [column, bar, element(table, "span", "value")];
    });
    const turns = camera.yaw !== null || camera.pitch !== null;
    let dot, ray, reach;
    if (turns) {
      const pad = shape(article.querySelector(".screen"), "svg", { class: "pad", viewBox: "-50 -50 100 100", role: "img", "aria-label": "Turn of the camera" });
      shape(pad, "path", { class: "cross", d: "M-44 0H44M0-44V44" });
      ray = shape(pad, "line", { class: "ray", x1: 0, y1: 0 });
      dot = shape(pad, "circle", { class: "turn", r: 6 });
      reach = Math.max(...[camera.yaw, camera.pitch].map((column) => (column === null ? 0 : limits[column]))) || 1;
    }
    return (frame) => {
      const row = rows[frame];
      for (const [column, chip] of chips) chip.classList.toggle("on", row[column] !== 0);
      for (const [column, bar, value] of bars) {
        const share = limits[column] ? (row[column] / limits[column]) * 50 : 0;
        bar.style.left = `${50 + Math.min(share, 0)}%`;
        bar.style.width = `${Math.abs(share)}%`;
        value.textContent = `${signed(row[column])} ${units[column]}`;
      }
      if (turns) {
        const x = camera.yaw === null ? 0 : (row[camera.yaw] / reach) * 42;
        const y = camera.pitch === null ? 0 : (row[camera.pitch] / reach) * 42; // pitch grows downwards, as y does here
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", y);
        ray.setAttribute("x2", x);
        ray.setAttribute("y2", y);
      }
      const active = names.filter((_, column) => row[column] !== 0 && column !== camera.yaw && column !== camera.pitch);
      output.textContent = row.some((value) => value !== 0) ? active.join(" + ") : "no action";
    };
  }

  // 1, 2 or 5 times a power of ten, so that about `count` of them make `span`.
  function niceStep(span, count) {
    const rough = span / count, power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  }

  // The walk from above: x to the right (east), z downwards (south), so that north is up.
  function map(holder, { path, poses }) {
    const points = [...path, ...poses.map((pose) => [pose[0], pose[2]])].filter(([x, z]) => x !== null && z !== null);
    if (!points.length) {
      element(holder, "p", "empty", "No pose of this episode is a number.");
      return () => {};
    }
    const size = 400, margin = { left: 40, right: 14, top: 14, bottom: 34 };
    const inner = size - margin.left - margin.right;
    const range = (axis) => points.reduce(([low, high], point) => [Math.min(low, point[axis]), Math.max(high, point[axis])], [Infinity, -Infinity]);
    const [xs, zs] = [range(0), range(1)];
    const span = Math.max(xs[1] - xs[0], zs[1] - zs[0], 2) * 1.16;
    const [left, top] = [(xs[0] + xs[1] - span) / 2, (zs[0] + zs[1] - span) / 2];
    const x = (value) => margin.left + ((value - left) / span) * inner;
    const z = (value) => margin.top + ((value - top) / span) * inner;
    const svg = shape(holder, "svg", { viewBox: `0 0 ${size} ${size + 6}`, role: "img", "aria-label": "The walk from above, north up" });
    const step = niceStep(span, 4), digits = Math.max(0, -Math.floor(Math.log10(step)));
    const bottom = margin.top + inner, right = margin.left + inner;
    for (let value = Math.ceil(left / step) * step; value <= left + span; value += step) {
      shape(svg, "path", { class: "grid", d: `M${x(value)} ${margin.top}V${bottom}` });
      shape(svg, "text", { x: x(value), y: bottom + 14, "text-anchor": "middle" }, (value || 0).toFixed(digits));
    }
    for (let value = Math.ceil(top / step) * step; value <= top + span; value += step) {
      shape(svg, "path", { class: "grid", d: `M${margin.left} ${z(value)}H${right}` });
      shape(svg, "text", { x: margin.left - 5, y: z(value) + 4, "text-anchor": "end" }, (value || 0).toFixed(digits));
    }
    const line = (list) => {
      let drawn = "", pen = "M";
      for (const [px, pz] of list) {
        if (px === null || pz === null) pen = "M";
        else {
          drawn += `${pen}${x(px).toFixed(1)} ${z(pz).toFixed(1)}`;
          pen = "L";
        }
      }
      return drawn;
    };
    shape(svg, "path", { class: "walk", d: line(path) });
    shape(svg, "path", { class: "shown", d: line(poses.map((pose) => [pose[0], pose[2]])) });
    shape(svg, "circle", { class: "start", cx: x(points[0][0]), cy: z(points[0][1]), r: 4 });
    shape(svg, "text", { class: "strong", x: right, y: bottom + 29, "text-anchor": "end" }, "x, blocks, east →");
    shape(svg, "text", { class: "strong", x: 4, y: bottom + 29 }, "z, south ↓");
    shape(svg, "path", { class: "north", d: `M${right - 16} ${margin.top + 24}l5 -16l5 16l-5 -4z` });
    shape(svg, "text", { class: "strong", x: right - 20, y: margin.top + 22, "text-anchor": "end" }, "N");
    const length = (step / span) * inner;
    shape(svg, "path", { class: "scale", d: `M${margin.left + 8} ${bottom - 8}h${length}m0 -4v8m${-length} 0v-8` });
    shape(svg, "text", { class: "strong", x: margin.left + 8 + length / 2, y: bottom - 15, "text-anchor": "middle" }, `${step} block${step === 1 ? "" : "s"}`);
    const marker = shape(svg, "g", {});
    shape(marker, "path", { class: "cone", d: "M0 0L-19 27A33 33 0 0 0 19 27z" }); // looks along +z, as yaw 0 does
    shape(marker, "circle", { class: "here", r: 5 });
    return ([px, , pz, yaw]) => {
      const known = px !== null && pz !== null && yaw !== null;
      marker.style.display = known ? "" : "none";
      if (known) marker.setAttribute("transform", `translate(${x(px)} ${z(pz)}) rotate(${yaw})`); // yaw grows to the right
    };
  }

  function poseText([x, y, z, yaw, pitch]) {
    const show = (value, digits) => (value === null ? "?" : value.toFixed(digits));
    return `x ${show(x, 2)}, y ${show(y, 2)}, z ${show(z, 2)} · yaw ${show(yaw, 1)}°, pitch ${show(pitch, 1)}°`;
  }

  function player(article, number) {
    const { fps, frames, actions, poses } = data[number];
    const find = (name) => article.querySelector(`.${name}`);
    const video = article.querySelector("video");
    const [play, scrub, speed, label, time] = ["play", "scrub", "speed", "frame", "time"].map(find);
    const gauge = !actions ? () => {} : (actions.kind === "discrete" ? discreteGauges : vectorGauges)(article, actions);
    const place = poses ? map(find("map"), data[number]) : () => {};
    let shown = -1; // the frame that is told of
    let aim = null; // the frame that was asked for last and is not yet presented; null while the clip plays

    function tell(frame) {
      frame = Math.min(Math.max(frame, 0), frames - 1);
      if (frame === aim || !video.paused) aim = null;
      if (frame === shown) return;
      shown = frame;
      label.textContent = `frame ${frame}`;
      if (aim === null) scrub.value = frame;
      time.textContent = `${(frame / fps).toFixed(2)} of ${(frames / fps).toFixed(2)} s`;
      gauge(frame);
      if (poses) {
        place(poses[frame]);
        find("pose").textContent = poseText(poses[frame]);
      }
    }

    const onClock = () => tell(Math.floor(video.currentTime * fps + 1e-3));
    if ("requestVideoFrameCallback" in video) {
      const presented = (_, { mediaTime }) => {
        tell(Math.round(mediaTime * fps));
        video.requestVideoFrameCallback(presented);
      };
      video.requestVideoFrameCallback(presented);
    } else {
      const follow = () => {
        onClock();
        if (!video.paused) requestAnimationFrame(follow);
      };
      video.addEventListener("play", follow);
      video.addEventListener("seeked", onClock);
    }

    // The middle of a frame: its edges may decode to either neighbour.
    function seek() {
      if (aim !== null && video.readyState > 0 && !video.seeking) video.currentTime = (aim + 0.5) / fps;
    }
    function go(frame) {
      aim = Math.min(Math.max(frame, 0), frames - 1);
      scrub.value = aim;
      if (aim === shown && !video.seeking) aim = null;
      seek();
    }
    function toggle(on = video.paused) {
      if (!on) {
        video.pause();
        return;
      }
      for (const other of document.querySelectorAll("video")) if (other !== video) other.pause();
      if (shown >= frames - 1) go(0);
      video.playbackRate = Number(speed.value);
      video.play().catch(() => {}); // interrupted by pause()
    }
    function step(by) {
      video.pause();
      go((aim ?? shown) + by);
    }

    video.addEventListener("loadedmetadata", seek);
    video.addEventListener("seeked", () => {
      // Another frame was asked for meanwhile.
      if (aim !== null && Math.abs(video.currentTime - (aim + 0.5) / fps) > 0.25 / fps) seek();
    });
    for (const event of ["play", "pause"]) {
      video.addEventListener(event, () => {
        play.textContent = video.paused ? "▶" : "❚❚";
        play.setAttribute("aria-label", video.paused ? "Play" : "Pause");
      });
    }
    video.addEventListener("click", () => toggle());
    play.addEventListener("click", () => toggle());
    find("back").addEventListener("click", () => step(-1));
    find("forward").addEventListener("click", () => step(1));
    scrub.addEventListener("input", () => {
      video.pause();
      go(Number(scrub.value));
    });
    speed.addEventListener("change", () => (video.playbackRate = Number(speed.value)));
    for (const event of ["focusin", "pointerdown"]) article.addEventListener(event, () => mark(number));
    tell(0);
    return { toggle, step, first: () => step(-frames), last: () => step(frames) };
  }

  function mark(number) {
    articles[marked].classList.remove("marked");
    marked = number;
    articles[marked].classList.add("marked");
  }
  function move(by) {
    const next = Math.min(Math.max(marked + by, 0), articles.length - 1);
    mark(next);
    document.activeElement?.blur();
    articles[next].scrollIntoView({ block: "start" });
  }

  const players = articles.map(player);
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const control = event.target.closest?.("button, select, a");
    const { toggle, step, first, last } = players[marked];
    const keys = {
      " ": () => toggle(), ArrowLeft: () => step(event.shiftKey ? -16 : -1), ArrowRight: () => step(event.shiftKey ? 16 : 1),
      Home: first, End: last, j: () => move(1), k: () => move(-1),
    };
    if (!keys[event.key] || (control && event.key === " ") || event.target.tagName === "SELECT") return;
    event.preventDefault();
    keys[event.key]();
  });
  mark(0);
})();
