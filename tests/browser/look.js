/* What the tests ask of a page; each function returns what is wrong, in words. */
"use strict";

const said = (e) => `${e.tagName.toLowerCase()}${e.id ? `#${e.id}` : ""}: ${e.textContent.trim().replace(/\s+/g, " ").slice(0, 60)}`;
const seen = (e) => e.checkVisibility({ visibilityProperty: true });
const all = (query, of = document) => [...of.querySelectorAll(query)].filter(seen);
const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);

function structure() {
  const wrong = [];
  const heads = all("h1, h2, h3, h4, h5, h6", document.querySelector("main"));
  const level = (e) => Number(e.tagName[1]);
  if (heads.filter((e) => level(e) === 1).length !== 1) wrong.push("not one h1");
  heads.slice(1).forEach((e, k) => { if (level(e) > level(heads[k]) + 1) wrong.push(`skips a level: ${said(e)}`); });
  const words = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const node = words.currentNode;
    if (/\$|\\[()[\]]|\{[a-z:-]+\}|`|:::/.test(node.data) && !node.parentElement.closest("pre, code, script, style, math, mjx-container")) {
      wrong.push(`raw text: ${node.data.trim().slice(0, 80)}`);
    }
  }
  for (const e of all("mjx-merror, merror, .problematic, .system-message")) wrong.push(`error: ${said(e)}`);
  for (const e of all("article [tabindex='0']")) {
    if (e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight && !e.closest(".fl-figure")) wrong.push(`a tab stop that does nothing: ${said(e)}`);
  }
  for (const e of all("article msqrt")) {
    if (e.firstElementChild.getBoundingClientRect().left - e.getBoundingClientRect().left < 2) wrong.push(`a root without its sign: ${said(e)}`);
  }
  for (const e of document.querySelectorAll("article img")) if (!e.alt) wrong.push(`no alt text: ${e.src}`);
  return wrong;
}

/* What sticks out of its box, or is cut without a hint, at the present width. */
function overflow() {
  const wrong = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) wrong.push("the page scrolls sideways");
  for (const e of all("article :is(div, pre, figure, p, li, dd, dt, td, th, section, summary, h1, h2, h3, h4)")) {
    if (e.scrollWidth <= e.clientWidth + 1 || !e.clientWidth) continue;
    const style = getComputedStyle(e);
    if (["hidden", "clip"].includes(style.overflowX) && !e.closest("mjx-container")) wrong.push(`cut: ${said(e)}`);
    if (scrolls(e) && !e.querySelector(".fl-more") && !e.matches(".fl-more")) wrong.push(`no hint: ${said(e)}`);
  }
  for (const e of all("article span.math")) {
    const block = e.closest("p, li, td, th, dd, dt, figcaption, h1, h2, h3, h4, summary, div");
    const over = e.getBoundingClientRect().right - block.getBoundingClientRect().right;
    if (over > 1.5) wrong.push(`an inline formula sticks out by ${Math.round(over)}: ${said(block)}`);
  }
  for (const e of all("article .fl-wide img")) {
    if (e.naturalWidth && e.clientWidth < Math.min(560, e.naturalWidth) - 1) wrong.push(`a small figure: ${e.alt.slice(0, 60)}`);
  }
  return wrong;
}

/* Formulas become one letter, and of code one token of each kind stays: axe would take a minute over them. */
function slim() {
  document.querySelectorAll("mjx-container, math, span.math, div.math").forEach((e) => e.replaceWith("x"));
  const known = new Set();
  document.querySelectorAll(".highlight span").forEach((e) => {
    const kind = `${e.className} ${Boolean(e.closest(".cell_input"))}`;
    if (known.has(kind)) e.replaceWith(e.textContent);
    known.add(kind);
  });
  document.querySelectorAll("#jb-print-docs-body").forEach((e) => e.remove());
}

/* What axe finds serious or critical. */
async function axeFinds(rules) {
  const options = { resultTypes: ["violations"], preload: false, elementRef: false };
  if (rules) options.runOnly = rules;
  const { violations } = await axe.run(document, options);
  return violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap(({ id, nodes }) =>
    nodes.slice(0, 3).map(({ html, failureSummary }) => `${id} (${nodes.length}): ${html.slice(0, 100)} ${failureSummary.split("\n").slice(1, 2).join(" ")}`));
}
