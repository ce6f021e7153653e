/* The search page: ranks the places of searchindex.js (book/_ext/find_places.py) and shows them with an excerpt.
   No other page is asked for, so that it works from a folder as well as from a server. */
"use strict";

/* K-FAC is one word */
const flWords = (text) => text.toLowerCase().replace(/(?<!\p{L})(\p{L})-(?=\p{L})/gu, "$1").match(/\d+(\.\d+)+|[\p{L}\p{N}_]+/gu) || [];
const flStem = (word) => (word.length < 5 ? word : word.replace(/(ing|ed|es|s|ly)$/, ""));
const flEscape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/* How often each stem begins a word; one that stands alone counts a little more, and a short one counts only so. */
function flCount(words, stems) {
  return stems.map((stem) => {
    let count = 0;
    for (const { word, own } of words) {
      if (own === stem) count += 1;
      else if (stem.length > 2 && word.startsWith(stem)) count += 0.6;
    }
    return count;
  });
}

/* All places, with their words once. */
let flKnown = null;
function flPlaces() {
  const cut = (text) => flWords(text).map((word) => ({ word, own: flStem(word) }));
  const named = (page, title) => cut(`${title} ${page.replace(/[/_]/g, " ")}`);
  flKnown ||= flPages.flatMap(([page, list]) => list.map(([anchor, title, text, weight]) => ({
    page, anchor: anchor === 0 ? title : anchor, title, text, weight, of: list[0][1],
    words: [cut(text), cut(title), named(page, list[0][1])],
  })));
  return flKnown;
}

/* All places that hold every word of the query, the best first. A word counts by how rare it is, more in a title; a
   statement asked for by its number comes before everything. */
function flSearch(query) {
  const asked = query.trim().toLowerCase().replace(/^figure/, "fig.").replace(/^fig /, "fig. ");
  const stems = flWords(asked).map(flStem);
  if (!stems.length) return [];
  const places = flPlaces().map((place) => {
    const [inside, named, above] = place.words.map((words) => flCount(words, stems));
    return { ...place, words: null, inside, named, above };
  });
  const has = (place, k) => place.inside[k] + place.named[k] + place.above[k] > 0;
  const rare = stems.map((_, k) => Math.log(1 + places.length / (1 + places.filter((p) => has(p, k)).length)));
  for (const place of places) {
    const share = (count) => count / (count + 1);
    const each = rare.map((r, k) => r * (share(place.inside[k]) + 2 * share(place.named[k]) + share(place.above[k])));
    place.score = each.reduce((a, b) => a + b) * place.weight;
    const name = place.title.toLowerCase();
    if (/[\d.]/.test(asked) && (name === asked || name.startsWith(`${asked} (`))) place.score += 100;
    if (!place.anchor && stems.every((_, k) => place.named[k])) place.score *= 1.5;
  }
  const hit = (place) => stems.every((_, k) => place.inside[k] + place.named[k] || (place.above[k] && !place.anchor));
  const found = places.filter(hit).sort((a, b) => b.score - a.score);
  /* statements share one count: who remembers a proposition as a theorem finds it by its number */
  const number = asked.match(/^[a-z]+\.? (\d+\.\d+)$/);
  return !found.length && number ? flSearch(number[1]) : found;
}

/* A piece of the text around the first of the words, with all of them marked. */
function flExcerpt(text, stems) {
  const marks = new RegExp(`(?<![\\p{L}\\p{N}])(${stems.join("|")})[\\p{L}\\p{N}]*`, "giu");
  const first = Math.max(text.search(marks), 0);
  const start = first < 90 ? 0 : text.indexOf(" ", first - 90) + 1;
  const end = text.length - start < 240 ? text.length : text.lastIndexOf(" ", start + 240);
  const piece = (start ? "… " : "") + text.slice(start, end) + (end < text.length ? " …" : "");
  return flEscape(piece).replace(marks, '<span class="highlighted">$&</span>');
}

document.addEventListener("DOMContentLoaded", () => {
  const query = new URLSearchParams(location.search).get("q") || "";
  const out = document.getElementById("search-results");
  for (const input of document.querySelectorAll('input[name="q"]')) input.value = query;
  if (!query || !out) return;
  const [found, stems] = [flSearch(query), flWords(query).map(flStem)];
  const items = found.slice(0, 60).map(({ page, anchor, title, text, of }) => {
    const address = `${page}.html${anchor ? `#${anchor}` : ""}`;
    const where = anchor ? ` <span class="fl-small">in ${flEscape(of)}</span>` : "";
    return `<li><a href="${address}">${flEscape(title)}</a>${where}<p class="context">${flExcerpt(text, stems)}</p></li>`;
  });
  const shown = found.length > 60 ? `, the first 60 are shown` : "";
  const said = found.length ? `${found.length} places found${shown}.` : "No place of the book has all of these words.";
  out.innerHTML = `<h2>Results</h2><p class="search-summary" role="status">${said}</p><ul class="search">${items.join("")}</ul>`;
});
