"""A report of `fl.diagnose` as Markdown, which a terminal and a notebook show, and as one
page that needs nothing else.
"""

import re
from functools import partial

from jinja2 import Environment, PackageLoader
from markdown_it import MarkdownIt

from fl.diagnose_report import FLAT, Report
from fl.theory.choosing_p import DROP

CAP = 12.0  # of the deviance that is drawn, above its least
INCHES = 4.2, 7.2
TEMPLATES = Environment(loader=PackageLoader("fl"))


def literal(words: str) -> str:
    """Return ``words`` in one line with each sign that Markdown may read escaped."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(words.split()))


TEMPLATES.filters |= {
    "literal": literal,
    "markdown": MarkdownIt("js-default").render,
}


def written(report: Report, template: str) -> str:
    """Return a ``report`` as the ``template`` says it: report.md in Markdown, report.html as
    a part of a page, page.html as a page that opens without a network.
    """
    picture = partial(_picture, report)
    return TEMPLATES.get_template(template).render(report.record(), picture=picture)


def _picture(report: Report) -> str:
    from fl import plotting  # matplotlib is for those who look

    return plotting.svg(partial(_draw, report), *INCHES)


def _draw(report: Report, figure) -> None:
    evidence, risks, spectrum = figure.subplots(3, 1)
    c, x = report.choice, report.risks
    above = c.deviance - c.deviance.min()
    evidence.plot(c.exponents, above)
    evidence.axvspan(c.low, c.high, color="C1", alpha=0.18, lw=0)
    evidence.axhline(DROP, color="C1", ls="--", lw=1)
    evidence.set(xlabel="exponent p", ylabel="deviance above its least")
    evidence.set_ylim(0, CAP)
    bars = 2 * x.difference_se
    flat = FLAT * x.risk.max()
    risks.axhspan(-flat, flat, color="C1", alpha=0.18, lw=0)
    risks.errorbar(x.p, x.difference, yerr=bars, fmt="o", capsize=2.5)
    risks.set(xlabel="exponent p", ylabel="risk minus that at 0")
    lam = report.lam
    order = range(1, len(lam) + 1)
    spectrum.semilogy(order, lam, "o-", markersize=3)
    spectrum.set(xlabel="direction", ylabel="eigenvalue")
