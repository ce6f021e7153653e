"""A report of `fl.diagnose` on a terminal, and as one page that needs nothing else."""

import re
from functools import partial
from html import escape

import numpy as np
from rich.console import Console
from rich.markup import escape as literal
from rich.table import Table

from fl.diagnose_report import SCOPE, Report

CAP = 12.0  # of the deviance that is drawn, above its least
INCHES = 3.6, 2.5
STYLE = """
.fl-diagnose table{border-collapse:collapse;margin:0 0 1rem;display:block;overflow-x:auto}
.fl-diagnose td,.fl-diagnose th{padding:.2rem .8rem .2rem 0;text-align:left;
 border-bottom:1px solid #8886;font-variant-numeric:tabular-nums;background:none}
.fl-diagnose .says{font-size:1.15em;font-weight:600}
.fl-diagnose .warn{border-left:4px solid #d55e00;padding-left:.7rem;margin:.4rem 0}
.fl-diagnose .pictures{display:flex;flex-wrap:wrap;gap:1rem}
.fl-diagnose figure{margin:0;flex:1 1 210px;max-width:420px}
.fl-diagnose figcaption{font-size:.875em}
.fl-diagnose svg{width:100%;height:auto}
html[data-theme=dark] .fl-diagnose svg{filter:invert(1) hue-rotate(180deg)}
html[data-theme=dark] .text_html:has(.fl-diagnose){background:none!important;
 color:inherit!important}
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none';style-src 'unsafe-inline'">
<title>{title}</title>
<style>:root{{color-scheme:light dark}}
body{{margin:1.5rem auto;padding:0 1rem;max-width:62rem;font:16px/1.5 system-ui,sans-serif;
 background:#fff;color:#1b1b1b}}
@media(prefers-color-scheme:dark){{body{{background:#14181d;color:#e6e6e6}}
 .fl-diagnose svg{{filter:invert(1) hue-rotate(180deg)}}}}</style>
</head><body><h1>{title}</h1>
{body}
</body></html>
"""


def write(report: Report, console: Console) -> None:
    """Write a ``report`` on a ``console``."""
    for title, head, rows in report.sections():
        table = Table(
            *head,
            title=literal(title),
            title_justify="left",
            show_header=any(head),
        )
        for row in rows:
            table.add_row(*map(literal, row))
        console.print(table)
    warned = [f"! {words}" for words in report.warnings()]
    for words in (report.real(), report.verdict(), *warned, SCOPE):
        console.print(words, markup=False, highlight=False)


def page(report: Report) -> str:
    """Return the ``report`` as a page of HTML that opens without a network."""
    title = escape(f"What the table says about p: target “{report.target}”")
    return PAGE.format(title=title, body=fragment(report))


def fragment(report: Report) -> str:
    """Return the ``report`` as a part of a page of HTML."""
    *tables, risks = [_table(*section) for section in report.sections()]
    figures = "".join(_pictures(report))
    parts = [
        _tag("p", report.verdict(), "says"),
        *(_tag("p", words, "warn") for words in report.warnings()),
        f'<div class="pictures">{figures}</div>',
        risks,
        _tag("p", report.real()),
        *tables,
        _tag("p", SCOPE),
    ]
    body = "\n".join(parts)
    return f'<style>{STYLE}</style>\n<div class="fl-diagnose">\n{body}\n</div>'


def _tag(name: str, words: str, kind: str = "") -> str:
    return f'<{name} class="{kind}">{escape(words)}</{name}>'


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    cells = [[_tag("td", x) for x in row] for row in rows]
    if any(head):
        cells.insert(0, [_tag("th", x) for x in head])
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return f"{_tag('h3', title)}\n<table>{body}</table>"


def _pictures(report: Report) -> list[str]:
    from fl import plotting  # matplotlib is for those who look

    said = "told" if report.told else "cannot tell"
    captions = {
        _evidence: f"Evidence for p: {said}. Band: the 95 % interval, below 3.84.",
        _risks: "Risk of each p with its penalty, minus that of 0; bars: two s.e.",
        _spectrum: "Spectrum of the inputs.",
    }
    figures = []
    for draw, words in captions.items():
        drawn = plotting.svg(partial(draw, report), draw.__name__, *INCHES)
        # three pictures on one page: matplotlib counts the parts of each from one
        svg = re.sub(r'( id="|href="#|url\(#)', rf"\1{draw.__name__}-", drawn)
        named = svg.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1)
        figures.append(f"<figure>{named}{_tag('figcaption', words)}</figure>")
    return figures


def _evidence(report: Report, ax) -> None:
    c = report.choice
    above = c.deviance - c.deviance.min()
    ax.plot(c.exponents, above)
    ax.axvspan(c.low, c.high, color="#D55E00", alpha=0.18, lw=0)
    ax.axhline(3.84, color="#D55E00", ls="--", lw=1)
    ax.set(ylim=(0, CAP), xlabel="exponent p", ylabel="deviance above its least")


def _risks(report: Report, ax) -> None:
    shown = [(x.p, x.difference, 2 * x.difference_se) for x in report.risks]
    p, gap, error = np.array(shown).T
    ax.axhline(0, color="#777777", lw=1)
    ax.errorbar(p, gap, yerr=error, fmt="o", capsize=2.5)
    # a difference that matters to nobody shall not fill the picture
    far = max(0.01, 1.1 * (abs(gap) + error).max())
    ax.set(ylim=(-far, far), xlabel="exponent p", ylabel="risk minus that at 0")


def _spectrum(report: Report, ax) -> None:
    order = np.arange(1, len(report.lam) + 1)
    ax.plot(order, report.lam, "o-", markersize=3)
    ax.set(yscale="log", xlabel="direction", ylabel="eigenvalue")
