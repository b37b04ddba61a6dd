"use strict";
// The page's data, and what the reader has chosen: which runs are shown, and the switches. Whoever depends on a choice
// listens for the events "runs" and "choice" of the document.
const mstv = { data: JSON.parse(document.getElementById("data").textContent) };
(() => {
  const buttons = [...document.querySelectorAll("[data-toggle]")];
  const shown = new Set();
  mstv.shown = shown;

  function read() {
    shown.clear();
    for (const button of buttons) if (button.getAttribute("aria-pressed") === "true") shown.add(Number(button.dataset.toggle));
    for (const part of document.querySelectorAll("[data-run]")) part.hidden = !shown.has(Number(part.dataset.run));
    document.getElementById("wall")?.style.setProperty("--screens", shown.size + 1);
  }

  function press(wanted) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(wanted(button)));
    read();
    document.dispatchEvent(new Event("runs"));
  }

  const pressed = (button) => button.getAttribute("aria-pressed") === "true";
  for (const button of buttons) button.addEventListener("click", () => press((other) => pressed(other) !== (other === button)));
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => press(() => button.dataset.choose === "all"));
  }
  read();

  // A switch may stand in several places of the page: all of them show the choice.
  mstv.choice = {};
  for (const name of ["scale", "detail", "truth"]) {
    const all = [...document.querySelectorAll(`[data-${name}]`)];
    mstv.choice[name] = all.find(pressed)?.dataset[name] ?? mstv.data.panels[0]?.[name];
    for (const button of all) {
      button.addEventListener("click", () => {
        mstv.choice[name] = button.dataset[name];
        for (const other of all) other.setAttribute("aria-pressed", String(other.dataset[name] === button.dataset[name]));
        document.dispatchEvent(new Event("choice"));
      });
    }
  }
})();
