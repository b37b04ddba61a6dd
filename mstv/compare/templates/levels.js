"use strict";
// Level by level: below an episode, what each level of a run's rollout shows alone, beside the video and the truth. The
// videos come into the page, and are loaded, when they are asked for; then they follow the one clock as all others do.
(() => {
  const { player } = mstv;
  if (!player) return;
  const isOpen = (button) => button.getAttribute("aria-expanded") === "true";
  const panelOf = (button) => button.closest("article").querySelector(`.levels[data-run="${button.dataset.levels}"]`);

  function open(button) {
    const run = button.dataset.levels, article = button.closest("article");
    const template = article.querySelector(`template[data-levels="${run}"]`);
    template.after(document.importNode(template.content, true));
    const panel = panelOf(button);
    for (const figure of panel.querySelectorAll("figure[data-same]")) {
      // The wall has these two already: embedded videos need not be in the page twice.
      const which = figure.dataset.same === "truth" ? ":not([data-run])" : `[data-run="${run}"]`;
      figure.append(article.querySelector(`.screens > figure${which} > :is(video, .missing)`).cloneNode(true));
    }
    panel.querySelector(".close").addEventListener("click", () => {
      close(button);
      button.focus();
    });
    panel.querySelectorAll("figure").forEach(player.join);
    button.setAttribute("aria-expanded", "true");
    panel.scrollIntoView({ block: "nearest" });
  }

  function close(button) {
    const panel = panelOf(button);
    panel.querySelectorAll("figure").forEach(player.leave);
    panel.remove();
    button.setAttribute("aria-expanded", "false");
  }

  /** Of the episode in view the levels of the first run that is shown, then those of the next, and of none at last. */
  function next() {
    const buttons = [...mstv.inView().querySelectorAll("button[data-levels]")].filter((button) => button.offsetParent);
    const following = buttons[buttons.findLastIndex(isOpen) + 1];
    buttons.filter(isOpen).forEach(close);
    if (following) open(following);
  }

  for (const button of document.querySelectorAll("button[data-levels]")) {
    button.addEventListener("click", () => (isOpen(button) ? close : open)(button));
  }
  mstv.levels = { next };
})();
