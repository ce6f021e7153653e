"""Sizes: every experiment has three scales, and at each of them blocks of seeds.

``smoke`` takes seconds, ``book`` is what the chapters show, ``paper`` the papers' own
sizes or larger. Block 0 holds the seeds of the book; every other block is disjoint from
it, so that a claim can be asked again with fresh numbers.
"""

from typing import Literal, get_args

from fl import validate

Scale = Literal["smoke", "book", "paper"]
SCALES = get_args(Scale)


def at(scale: Scale, *, smoke, book, paper):
    """Return the one of ``smoke``, ``book`` and ``paper`` that belongs to ``scale``.

    >>> at("book", smoke=10, book=100, paper=1000)
    100

    Raises:
        ValueError: for another scale.
    """
    sizes = {"smoke": smoke, "book": book, "paper": paper}
    return sizes[validate.choice("scale", scale, SCALES)]


def seeds(number: int, block: int = 0) -> range:
    """Return the ``number`` seeds of a ``block``: whole numbers >= 0, none shared.

    >>> list(seeds(3)), list(seeds(3, block=1))
    ([0, 1, 2], [3, 4, 5])

    Raises:
        ValueError: if ``number`` is < 1 or ``block`` < 0.
    """
    number = validate.count("number", number)
    first = number * validate.count("block", block, minimum=0)
    return range(first, first + number)
