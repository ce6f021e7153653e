/* What is wider than its box scrolls inside it: its edge is faded while there is more beyond it, and it is a tab stop, so
   that it can be moved by keyboard. What fits is none. A cell that a number of the prose leads to is unfolded. */
"use strict";

const flBoxes = "div.math, .fl-wide, .highlight pre, .cell_output, .cell_output > .output, .fl-graph, .pst-scrollable-table-container";

function flMore(box) {
  box.classList.toggle("fl-more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
}

function flReach() {
  for (const box of document.querySelectorAll(flBoxes)) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    flMore(box);
  }
}

addEventListener("scroll", ({ target }) => target.matches?.(flBoxes) && flMore(target), true);
addEventListener("resize", flReach);
addEventListener("toggle", flReach, true);
addEventListener("load", async () => {
  await document.fonts.ready;
  flReach();
});

function flUnfold() {
  const cell = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (cell?.matches(".cell")) for (const fold of cell.querySelectorAll("details")) fold.open = true;
}

addEventListener("hashchange", flUnfold);
addEventListener("load", flUnfold);
