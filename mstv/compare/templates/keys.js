"use strict";
// The keyboard, wherever the focus is, unless a control wants the key for itself.
(() => {
  const { player, revisits, levels, data } = mstv;
  if (!player) return;

  function changeSpeed(by) {
    const index = player.speed.selectedIndex + by;
    if (index >= 0 && index < player.speed.length) player.speed.selectedIndex = index;
  }

  const keys = {
    " ": () => player.toggle(),
    ArrowLeft: (event) => player.step(event.shiftKey ? -16 : -1),
    ArrowRight: (event) => player.step(event.shiftKey ? 16 : 1),
    Home: () => player.go(data.first),
    End: () => player.go(data.end - 1),
    c: () => player.go(data.context - 1),
    ",": () => changeSpeed(-1),
    ".": () => changeSpeed(1),
    r: () => revisits.jump(1),
    R: () => revisits.jump(-1),
    f: () => revisits.look(),
    l: () => levels.next(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !keys[event.key]) return;
    const target = event.target;
    if (target.tagName === "SELECT" || (event.key === " " && target.closest?.("button, a, summary"))) return;
    if (event.key.startsWith("Arrow") && target.closest?.(".scroll")) return; // scrolls a wide table
    event.preventDefault();
    keys[event.key](event);
  });
})();
