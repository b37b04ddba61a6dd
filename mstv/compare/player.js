"use strict";
// One transport bar drives every video. The clock is the page's own: videos that are in view follow it, those out of
// view rest and catch up when they come in, so a large wall costs no more than what one sees.
(() => {
  const wall = document.getElementById("wall");
  if (!wall) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const { first, end, context, fps } = data;
  const frames = end - first;
  const videos = [...wall.querySelectorAll("video")];
  const inView = new Set();
  const strips = [];
  const [play, scrub, where, speed] = ["play", "scrub", "where", "speed"].map((id) => document.getElementById(id));
  let at = Math.min(Math.max(context - 1, first), end - 1); // the last given frame: what every rollout starts from
  let playing = false, before = 0, checked = 0;

  // The middle of a frame: its edges may decode to either neighbour.
  const seconds = (frame) => (Math.floor(frame) - first + 0.5) / fps;

  function seek(video) {
    const target = seconds(at);
    if (video.readyState === 0) return; // caught up by loadedmetadata
    if (video.seeking) video.dataset.late = "yes"; // seeks again when this one is done, to where `at` is then
    else if (Math.abs(video.currentTime - target) > 0.25 / fps) video.currentTime = Math.min(target, video.duration - 0.25 / fps);
  }

  function show() {
    const frame = Math.floor(at);
    wall.style.setProperty("--at", (frame - first + 0.5) / frames);
    scrub.value = frame;
    const horizon = frame - context + 1;
    where.textContent = `frame ${frame} · ${horizon < 1 ? "context" : `horizon ${horizon}`} · ${((frame - first) / fps).toFixed(1)} s`;
    for (const { values, output, figure } of strips) {
      if (!inView.has(figure)) continue;
      const value = values[horizon - 1];
      output.textContent = value === undefined ? "context" : `${value.toFixed(1)} dB`;
    }
  }

  function go(frame) {
    at = Math.min(Math.max(frame, first), end - 1);
    for (const video of videos) if (inView.has(video.closest("figure"))) seek(video);
    show();
  }

  function tick(now) {
    if (!playing) return;
    at = Math.min(at + ((now - before) / 1000) * fps * speed.value, end - 0.001);
    before = now;
    if (now - checked > 200) {
      checked = now;
      for (const video of videos) {
        if (!inView.has(video.closest("figure"))) continue;
        video.playbackRate = Number(speed.value);
        if (video.paused && !video.ended) follow(video);
        if (Math.abs(video.currentTime - seconds(at)) > 2.5 * Math.max(1, speed.value) / fps) seek(video);
      }
    }
    show();
    if (at >= end - 0.01) toggle(false);
    else requestAnimationFrame(tick);
  }

  function follow(video) {
    video.playbackRate = Number(speed.value);
    video.play().catch(() => {}); // a browser may refuse or be interrupted by pause(): the clock tries again
  }

  function toggle(on = !playing) {
    playing = on;
    play.textContent = on ? "❚❚" : "▶";
    play.setAttribute("aria-label", on ? "Pause" : "Play");
    if (on) {
      if (at >= end - 1) at = first;
      go(at);
      before = performance.now();
      for (const video of videos) if (inView.has(video.closest("figure"))) follow(video);
      requestAnimationFrame(tick);
    } else {
      for (const video of videos) video.pause();
      go(Math.floor(at));
    }
  }

  function step(by) {
    if (playing) toggle(false);
    go(Math.floor(at) + by);
  }

  function drawStrips() {
    const all = data.strips.flat(2);
    const low = Math.min(...all), range = Math.max(Math.max(...all) - low, 1);
    wall.querySelectorAll("article").forEach((article, row) => {
      article.querySelectorAll("figure").forEach((figure, column) => {
        const strip = figure.querySelector(".strip");
        if (!strip) return;
        const values = data.strips[row][column];
        const x = (index) => (((context + index - first + 0.5) / frames) * 1000).toFixed(1);
        const y = (value) => (92 - ((value - low) / range) * 84).toFixed(1);
        const svg = strip.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
        svg.setAttribute("viewBox", "0 0 1000 100");
        svg.setAttribute("preserveAspectRatio", "none");
        const path = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
        path.setAttribute("d", "M" + values.map((value, index) => `${x(index)} ${y(value)}`).join("L"));
        path.setAttribute("fill", "none");
        path.setAttribute("vector-effect", "non-scaling-stroke");
        path.setAttribute("stroke-width", 1.3);
        path.style.stroke = `var(--run-${figure.dataset.run % 8})`;
        strip.title = `PSNR per frame; all strips share the scale ${low.toFixed(1)} to ${(low + range).toFixed(1)} dB`;
        strips.push({ values, figure, output: strip.appendChild(document.createElement("output")) });
        const jump = (event) => {
          const area = strip.getBoundingClientRect();
          go(first + Math.floor(((event.clientX - area.left) / area.width) * frames));
        };
        strip.addEventListener("pointerdown", jump);
        strip.addEventListener("pointermove", (event) => event.buttons && jump(event));
      });
    });
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const video = target.querySelector("video");
      if (isIntersecting) inView.add(target);
      else inView.delete(target);
      if (!video) continue;
      if (!isIntersecting) video.pause();
      else {
        seek(video);
        if (playing) follow(video);
      }
    }
    show();
  });

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const control = event.target.closest?.("button, select, a, summary, [contenteditable]");
    const keys = {
      " ": () => toggle(), ArrowLeft: () => step(event.shiftKey ? -16 : -1), ArrowRight: () => step(event.shiftKey ? 16 : 1),
      Home: () => go(first), End: () => go(end - 1), c: () => go(context - 1),
    };
    if (!keys[event.key] || (control && event.key === " ") || event.target.tagName === "SELECT") return;
    event.preventDefault();
    keys[event.key]();
  });
  play.addEventListener("click", () => toggle());
  document.getElementById("back").addEventListener("click", () => step(-1));
  document.getElementById("forward").addEventListener("click", () => step(1));
  scrub.addEventListener("input", () => go(Number(scrub.value)));
  for (const video of videos) {
    video.addEventListener("loadedmetadata", () => seek(video));
    video.addEventListener("seeked", () => {
      if (!video.dataset.late) return;
      delete video.dataset.late;
      if (!playing) seek(video);
    });
  }

  const share = Math.min(Math.max((context - first) / frames, 0), 1);
  wall.style.setProperty("--context", share);
  const mark = document.getElementById("context-mark");
  mark.hidden = share <= 0;
  mark.style.left = `calc(8px + ${share} * (100% - 16px))`; // a range input's thumb is about 16 px wide
  mark.dataset.label = "context ends";
  drawStrips();
  for (const figure of wall.querySelectorAll("figure")) watcher.observe(figure);
  show();
})();
