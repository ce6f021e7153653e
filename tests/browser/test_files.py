"""What a file of the built book says for itself: valid, unique ids, links that lead somewhere."""

import functools
import re
from collections import Counter
from html import unescape
from urllib.parse import unquote, urlsplit

import html5lib
import pandas as pd
import pytest

from browser.shown import HTML, PAGES


def text(name: str) -> str:
    """Return the text of a file."""
    return (HTML / name).read_text("utf-8")


@functools.cache
def ids(name: str) -> Counter:
    """Return the ids of a file."""
    return Counter(map(unescape, re.findall(r'<[^<>]*\sid="([^"]*)"', text(name))))


@pytest.mark.parametrize("name", PAGES)
def test_a_file_is_valid_and_names_each_thing_once(built, name):
    parser = html5lib.HTMLParser()
    parser.parse(text(name))
    wrong = [f"line {at[0]}: {code} {words}" for at, code, words in parser.errors]
    assert not wrong
    assert not [id for id, often in ids(name).items() if often > 1]


def leads(name: str, address: str) -> bool:
    """Tell whether an address on a page is elsewhere, or a file and a place in it."""
    link = urlsplit(address)
    if link.scheme or link.netloc:
        return True
    file, place = HTML / name, unquote(link.fragment)
    if link.path:
        file = (file.parent / unquote(link.path)).resolve()
    if not place or file.suffix != ".html":
        return file.is_file()
    return file.is_file() and place in ids(file.relative_to(HTML).as_posix())


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(built, name):
    found = set(re.findall(r'<[^<>]*\s(?:href|src)="([^"]*)"', text(name))) - {"#"}
    assert not [address for address in map(unescape, found) if not leads(name, address)]


@pytest.mark.parametrize("name", PAGES)
def test_every_figure_gives_its_points_away(built, name):
    captioned = re.findall(
        r"<figure\b(?:(?!</figure>).)*<figcaption>", text(name), re.S
    )
    figures = re.findall(r'src="[^"]*_images/([^"]+)\.svg"', "".join(captioned))
    for figure in figures:
        assert f'_images/{figure}.csv" download="' in text(name)
        points = pd.read_csv(HTML / "_images" / f"{figure}.csv", dtype={"series": str})
        known = {"theory", "line", "measured", "image"}
        assert len(points) and known >= set(points["kind"])
        assert points[["x", "y"]].notna().any(axis=1).all()


@pytest.mark.parametrize("name", PAGES)
def test_every_number_of_the_prose_leads_to_the_cell_that_stored_it(built, name):
    page = text(name)
    linked = re.findall(r'fl-number[^>]*href="#([^"]+)"[^>]*><span class="past', page)
    assert len(linked) == page.count('"pasted-text"')
    cells = re.split(r'(?=<div class="cell )', page)
    for anchor in linked:
        (cell,) = [c for c in cells if f'id="{anchor}"' in c.partition(">")[0]]
        assert "glue" in cell.partition('class="cell_output')[0]
