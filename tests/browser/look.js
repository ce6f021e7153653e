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
    if (/\$|\\[()[\]]|\{[a-z:-]+\}|`|:::/.test(node.data) && !node.parentElement.closest("pre, code, script, style, math")) {
      wrong.push(`raw text: ${node.data.trim().slice(0, 80)}`);
    }
  }
  for (const e of all("merror, .problematic, .system-message")) wrong.push(`error: ${said(e)}`);
  for (const e of all("article [tabindex='0']")) {
    if (e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight && !e.closest(".fl-figure")) wrong.push(`a tab stop that does nothing: ${said(e)}`);
  }
  for (const e of all("article msqrt")) {
    if (e.firstElementChild.getBoundingClientRect().left - e.getBoundingClientRect().left < 2) wrong.push(`a root without its sign: ${said(e)}`);
  }
  for (const e of document.querySelectorAll("article img")) if (!e.alt) wrong.push(`no alt text: ${e.src}`);
  return wrong;
}

/* Open what is folded: what cannot be seen has no width. */
function unfold() {
  document.querySelectorAll("details").forEach((e) => { e.open = true; });
  document.querySelectorAll(".toggle-hidden").forEach((e) => e.classList.remove("toggle-hidden"));
}

/* What sticks out of its box, or is cut without a hint, at the present width. */
function overflow() {
  const wrong = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) wrong.push("the page scrolls sideways");
  for (const e of all("article :is(div, pre, figure, p, li, dd, dt, td, th, section, summary, h1, h2, h3, h4)")) {
    if (e.scrollWidth <= e.clientWidth + 2 || !e.clientWidth) continue;
    const style = getComputedStyle(e);
    if (["hidden", "clip"].includes(style.overflowX)) wrong.push(`cut: ${said(e)}`);
    if (scrolls(e) && !e.querySelector(".fl-more") && !e.matches(".fl-more")) wrong.push(`no hint: ${said(e)}`);
  }
  for (const e of all("article div.math")) {
    const inner = e.querySelector("math");
    if (inner && inner.getBoundingClientRect().left < e.getBoundingClientRect().left - 1) wrong.push(`a formula begins outside: ${said(e)}`);
  }
  for (const e of all("article :is(span.math, math:not([display=block]))")) {
    const block = e.closest("p, li, td, th, dd, dt, figcaption, h1, h2, h3, h4, summary, div");
    const over = e.getBoundingClientRect().right - block.getBoundingClientRect().right;
    if (over > 1.5) wrong.push(`an inline formula sticks out by ${Math.round(over)}: ${said(block)}`);
  }
  for (const e of all("article .fl-wide img")) {
    if (e.naturalWidth && e.clientWidth < Math.min(560, e.naturalWidth) - 1) wrong.push(`a small figure: ${e.alt.slice(0, 60)}`);
  }
  return wrong;
}

/* Fold everything again, as a reader finds it. */
function fold() {
  document.querySelectorAll("details").forEach((e) => { e.open = false; });
  document.querySelectorAll(".solution").forEach((e) => e.classList.add("toggle-hidden"));
}

/* How light a colour is on white, from 0 to 1. */
function lightness(colour) {
  const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
  const scale = colour.startsWith("color(") ? 1 : 255;
  return 1 - alpha + (alpha * (0.299 * red + 0.587 * green + 0.114 * blue)) / scale;
}

/* What is dark behind the text of a page, or pale upon it: paper is white in both themes. */
function grounds() {
  const wrong = [];
  for (const e of [document.documentElement, document.body, ...all("main, main *:not(math *, svg *, img)")]) {
    const { backgroundColor, color } = getComputedStyle(e);
    if (lightness(backgroundColor) < 0.8) wrong.push(`dark ground ${backgroundColor}: ${said(e)}`);
    const words = [...e.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (words && lightness(color) > 0.6) wrong.push(`pale text ${color}: ${said(e)}`);
  }
  for (const e of all("article img")) if (getComputedStyle(e).filter !== "none") wrong.push(`a figure in other colours: ${e.alt.slice(0, 60)}`);
  return wrong.slice(0, 8);
}

/* What paper would cut off, leave folded, or show of the screen alone. */
function paper() {
  const wrong = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width + 1) wrong.push("wider than the paper");
  for (const e of all("article :is(pre, math, img, figure, table, svg, div, p, dt, dd, li)")) {
    if (e.getBoundingClientRect().right > width + 1 && !e.closest("mtable, svg svg")) wrong.push(`sticks out: ${said(e)}`);
    const style = getComputedStyle(e);
    const clips = style.overflowX !== "visible" && e.scrollWidth > e.clientWidth + 2;
    if (clips && e.clientWidth) wrong.push(`cut: ${said(e)}`);
  }
  if (all("h1").length !== 1) wrong.push("not one h1");
  for (const e of document.querySelectorAll("article details.sd-dropdown")) {
    if (e.lastElementChild.getBoundingClientRect().height < 5) wrong.push(`a closed proof: ${said(e)}`);
  }
  for (const e of all("article :is(.solution, details.hide, .fl-figure), nav, header, button")) wrong.push(`not for paper: ${said(e)}`);
  return wrong.slice(0, 12);
}

/* Of things that are alike for axe, in the same place of the same boxes with the same attributes, two stay: it would take a
   minute over a chapter. Formulas become a letter. */
function slim() {
  document.querySelectorAll("math").forEach((e) => e.replaceWith("x"));
  const known = new Map();
  const trait = ({ name, value }) => (["class", "role"].includes(name) ? value : name);
  const needed = (e, place) => {
    const where = e.matches(".highlight span") ? "code" : place;
    const kind = `${where} ${e.tagName} ${[...e.attributes].map(trait)} ${Boolean(e.textContent.trim())}`;
    const before = known.get(kind) || 0;
    known.set(kind, before + 1);
    const children = [...e.children];
    const inside = children.map((child) => needed(child, kind));
    /* a list of definitions is one thing */
    if (e.tagName !== "DL") children.forEach((child, k) => inside[k] || child.remove());
    return before < 2 || inside.includes(true);
  };
  needed(document.body, "");
}

/* What axe finds serious or critical. */
async function axeFinds(rules) {
  const options = { resultTypes: ["violations"], preload: false, elementRef: false };
  if (rules) options.runOnly = rules;
  const { violations } = await axe.run(document, options);
  return violations.filter((v) => ["serious", "critical"].includes(v.impact)).flatMap(({ id, nodes }) =>
    nodes.slice(0, 3).map(({ html, failureSummary }) => `${id} (${nodes.length}): ${html.slice(0, 100)} ${failureSummary.split("\n").slice(1, 2).join(" ")}`));
}
