"use strict";
// One transport bar drives every video. Videos in view, or nearly, are loaded and follow one clock; the others rest and
// catch up when they come in, so a large wall costs no more than what one sees.
(() => {
  const wall = document.getElementById("wall");
  if (!wall) return;
  const { first, end, context, fps } = mstv.data;
  const frames = end - first;
  const near = new Map(); // figure -> its video, or null
  const [play, scrub, where, speed] = ["play", "scrub", "where", "speed"].map((id) => document.getElementById(id));
  const CHECK_MS = 100, FAR_SECONDS = 0.4;
  // The place on the clock in frames; the middle of a frame when it rests, since its edges may decode to either neighbour.
  let at = Math.min(Math.max(context - 1, first), end - 1) + 0.5; // the last given frame: what every rollout starts from
  let playing = false, before = 0, checked = 0, told = -1;

  const time = () => (at - first) / fps;
  const videos = () => [...near.values()].filter((video) => video && video.readyState > 0 && !video.error);

  function seek(video, always = false) {
    if (video.seeking) video.late = true; // seeks again when this one is done, to where the clock is then
    else if (always || Math.abs(video.currentTime - time()) > 0.2 / fps) video.currentTime = Math.min(time(), video.duration - 0.25 / fps);
  }

  function show() {
    const frame = Math.floor(at);
    if (frame === told) return;
    told = frame;
    scrub.value = frame;
    const horizon = frame - context + 1;
    where.textContent = `frame ${frame} · ${horizon < 1 ? "context" : `horizon ${horizon}`} · ${((frame - first) / fps).toFixed(1)} s`;
    for (const figure of near.keys()) mstv.showStrip(figure, frame);
    document.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  function go(frame) {
    at = Math.min(Math.max(Math.floor(frame), first), end - 1) + 0.5;
    for (const video of videos()) seek(video);
    show();
  }

  // The clock follows the median of the videos, and each video is drawn towards the clock by its speed: a seek would
  // show as a stutter.
  function keepTogether() {
    const running = videos().filter((video) => !video.paused && !video.seeking && !video.ended);
    const errors = running.map((video) => video.currentTime - time()).sort((a, b) => a - b);
    const median = errors[errors.length >> 1] ?? 0;
    if (Math.abs(median) < FAR_SECONDS) at = Math.min(Math.max(at + median * fps, first), end - 0.5);
    for (const video of running) {
      const error = video.currentTime - time();
      if (Math.abs(error) > FAR_SECONDS) seek(video);
      const pull = Math.abs(error) < 0.1 / fps ? 0 : Math.min(Math.max(2 * error, -0.3), 0.3);
      const rate = speed.value * (1 - pull);
      if (video.playbackRate !== rate) video.playbackRate = rate;
    }
    for (const video of videos()) if (video.paused && !video.ended && !video.seeking) follow(video);
  }

  function follow(video) {
    video.playbackRate = Number(speed.value);
    video.play().catch(() => {}); // a browser may refuse, or pause() may interrupt: the clock tries again
  }

  function tick(now) {
    if (!playing) return;
    // A page that was in the background goes on where it was.
    at = Math.min(at + (Math.min(now - before, 500) / 1000) * fps * speed.value, end - 0.5);
    before = now;
    if (now - checked > CHECK_MS) {
      checked = now;
      keepTogether();
    }
    show();
    if (at >= end - 0.5) toggle(false);
    else requestAnimationFrame(tick);
  }

  function toggle(on = !playing) {
    playing = on;
    play.textContent = on ? "❚❚" : "▶";
    play.setAttribute("aria-label", on ? "Pause" : "Play");
    if (on) {
      go(at >= end - 1 ? first : at);
      before = checked = performance.now();
      videos().forEach(follow);
      requestAnimationFrame(tick);
    } else {
      for (const video of videos()) video.pause();
      go(at);
      // A busy machine may have paused before it painted the frame that its time names.
      for (const video of videos()) seek(video, true);
    }
  }

  function pauseAt(frame) {
    if (playing) toggle(false);
    go(frame);
  }

  function enter(figure, video) {
    near.set(figure, video);
    mstv.drawStrip(figure);
    mstv.showStrip(figure, Math.floor(at));
    if (!video) return;
    if (video.readyState > 0) seek(video);
    else video.currentTime = time(); // where it begins once it is loaded
    video.preload = "auto"; // until now it was "none"
    if (playing) follow(video);
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const video = target.querySelector("video");
      if (isIntersecting && target.isConnected) enter(target, video);
      else if (near.delete(target)) video?.pause();
    }
  }, { rootMargin: "150px" });

  function join(figure) {
    watcher.observe(figure);
    const video = figure.querySelector("video");
    video?.addEventListener("loadedmetadata", () => seek(video));
    video?.addEventListener("seeked", () => {
      if (!video.late) return;
      video.late = false;
      seek(video);
    });
    video?.addEventListener("error", () => {
      const note = document.createElement("p");
      note.append("this video cannot be played", document.createElement("br"), Object.assign(document.createElement("span"), { textContent: "half-written or damaged" }));
      const place = Object.assign(document.createElement("div"), { className: "missing" });
      place.style.aspectRatio = video.style.aspectRatio;
      place.append(note);
      video.replaceWith(place);
      if (near.has(figure)) near.set(figure, null);
    });
  }

  /** Forgets a figure that goes for good, and what its video has loaded. */
  function leave(figure) {
    watcher.unobserve(figure);
    near.delete(figure);
    const video = figure.querySelector("video");
    video?.pause();
    video?.removeAttribute("src");
    video?.load();
  }

  wall.querySelectorAll("figure").forEach(join);
  play.addEventListener("click", () => toggle());
  document.getElementById("back").addEventListener("click", () => pauseAt(at - 1));
  document.getElementById("forward").addEventListener("click", () => pauseAt(at + 1));
  scrub.addEventListener("input", () => go(Number(scrub.value)));

  const share = Math.min(Math.max((context - first) / frames, 0), 1);
  const mark = document.getElementById("context-mark");
  mark.hidden = share <= 0;
  mark.style.left = `calc(8px + ${share} * (100% - 16px))`; // a range input's thumb is about 16 px wide
  mark.dataset.label = "context ends";
  mstv.player = { go, toggle, pauseAt, step: (by) => pauseAt(at + by), frame: () => Math.floor(at), speed, join, leave };
  show();
})();
