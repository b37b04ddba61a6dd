"use strict";
// Revisits: jumps to where the walk comes back to a place, and to where that place was last seen.
(() => {
  const { player, data } = mstv;
  if (!player) return;
  const articles = [...document.querySelectorAll("article")];
  let back = null; // the revisit that one left for the visit before

  /** The episode in view: the first one that reaches below the upper third of the window. */
  const inView = () => articles.find((article) => article.getBoundingClientRect().bottom > innerHeight / 3) ?? articles.at(-1);
  const known = (article) => data.revisits[article.dataset.row];

  function lastSeen(article, frame) {
    const revisits = known(article);
    const index = revisits ? revisits.frames.indexOf(frame) : -1;
    return index < 0 ? undefined : revisits.seen[index];
  }

  function jump(direction) {
    const arrivals = known(inView())?.arrivals ?? [], frame = player.frame();
    const next = direction > 0 ? arrivals.find((other) => other > frame) : arrivals.findLast((other) => other < frame);
    if (next !== undefined) player.pauseAt(next);
  }

  function look() {
    const frame = player.frame(), seen = lastSeen(inView(), frame);
    if (back && back.seen === frame) {
      player.pauseAt(back.frame);
      back = null;
    } else if (seen !== undefined) {
      back = { frame, seen };
      player.pauseAt(seen);
    }
  }

  function tell(frame) {
    for (const article of articles) {
      const output = article.querySelector(".seen");
      if (!output) continue;
      const seen = lastSeen(article, frame);
      output.textContent = seen === undefined ? "" : `this view: last seen at ${seen}, ${frame - seen} frames ago`;
      for (const button of article.querySelectorAll("[data-go]")) button.setAttribute("aria-pressed", String(Number(button.dataset.go) === frame));
    }
  }

  for (const button of document.querySelectorAll("[data-go]")) {
    button.addEventListener("click", () => player.pauseAt(Number(button.dataset.go)));
  }
  document.getElementById("revisit-back")?.addEventListener("click", () => jump(-1));
  document.getElementById("revisit-forward")?.addEventListener("click", () => jump(1));
  document.addEventListener("frame", (event) => tell(event.detail));
  tell(player.frame());
  mstv.revisits = { jump, look };
  mstv.inView = inView;
})();
