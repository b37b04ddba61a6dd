"use strict";
// Tables: sorted by any column, and those of the chosen ground truth.
(() => {
  document.addEventListener("choice", () => {
    for (const part of document.querySelectorAll("[data-of-truth]")) part.hidden = part.dataset.ofTruth !== mstv.choice.truth;
    for (const part of document.querySelectorAll(".averaged")) part.hidden = mstv.choice.detail !== "averaged";
  });

  // Bounds keep their places: the upper one stands above the runs, the lower one below.
  function sort(table, column, direction) {
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => !row.classList.contains("bound"));
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const ordered = [...rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // the unknown is always last
      return direction * (column === 0 ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    });
    const marks = rows.map((row) => row.parentElement.insertBefore(document.createComment(""), row));
    marks.forEach((mark, index) => mark.replaceWith(ordered[index]));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.firstElementChild.addEventListener("click", () => {
        // Names begin with the first, numbers with the largest.
        const before = head.getAttribute("aria-sort") ?? (column === 0 ? "descending" : "ascending");
        const now = before === "ascending" ? "descending" : "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", now);
        sort(table, column, now === "ascending" ? 1 : -1);
      });
    });
  }
})();
