"""What `fl.diagnose` found, and how it is said: as text, as a record, as a page."""

import io
import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from fl.theory.choosing_p import EXPONENTS, SIGNAL, Choice

SCOPE = (
    "About ridge regression with squared loss on these columns. Not about a network, "
    "and not about Adam or any other optimizer whose preconditioner is no power of the "
    "covariance. No linear signal is not no signal."
)
BARE = (
    "As many directions as degrees of freedom: only the prior tells signal from noise, and "
    "at p = -1 nothing does."
)
SHORT = (
    "Fewer than two rows a column: in trials of that size the estimate gained next to "
    "nothing over p = 0."
)
CUT = "The interval is cut by an end of [-2, 2]: read that end as at most or at least."
LOUD = (
    "One fold makes more than half of the error: outliers, or groups of rows; do not trust "
    "the risks."
)
BINARY = "Two labels: this is squared loss, not classification."
RULE = "Differences below two of their s.e., or a thousandth of the risk, are not real."
HEAD = ["p", "penalty", "dimension", "risk", "s.e.", "minus risk at 0", "s.e."]
FORMATS = ["+.2f", ".2e", ".1f", ".4f", ".4f", "+z.4f", ".4f"]
# title -> text, of a `Report` and what its `Report.sections` finds
READ = {"rows": "{0.rows:,}", "columns": "{d}, {units}"}
SEEN = {
    "directions above rounding": "{r} of {d}",
    "largest, median, least eigenvalue": "{0.lam[0]:.3g}, {median:.3g}, {least:.3g}",
    "effective number of inputs": "{inputs:.1f}",
    "resolved directions": "{0.choice.resolved:.1f}",
    "noise, share of the label's variance": "{0.noise:.3f}",
}
FLAT = 1e-3  # of the risk: a difference that matters to nobody
MANY = 20  # columns left out that are named
ENOUGH = 14  # directions for an interval of 1.5 if the sd of their log eigenvalues is 1


class Risk(NamedTuple):
    r"""One exponent in cross-validation, with the penalty of its least error.

    Args:
        p: exponent.
        penalty: :math:`\rho` of :math:`\min_w\frac1n|y-Xw|^2+\rho\,w^\top\hat\Sigma^{-p}w`.
        dimension: effective dimension, the sum over directions of what is kept of each.
        risk: mean squared error over the variance of the label.
        se: its standard error over folds.
        difference: `risk` less that at p = 0.
        difference_se: its standard error, over paired folds.
        largest: share of the fold that adds most to `risk`.
    """

    p: float
    penalty: float
    dimension: float
    risk: float
    se: float
    difference: float
    difference_se: float
    largest: float

    @property
    def real(self) -> bool:
        """Whether the difference is above two standard errors, and above a thousandth."""
        return abs(self.difference) > max(2 * self.difference_se, FLAT * self.risk)


def compared(exponents, penalties, dimensions, errors, sizes) -> list[Risk]:
    """Return the risks of ``exponents`` (P,), 0 among them, with their ``penalties`` and
    ``dimensions`` (P,), from ``errors`` (P, K) on folds of ``sizes`` (K,) rows.

    The standard errors are those of Nadeau and Bengio: training sets overlap, and the
    scatter of K folds counts with the weight 1/K + 1/(K-1) in place of 1/K.
    """
    K = len(sizes)
    shares = sizes / sizes.sum()
    both = np.stack([errors, errors - errors[list(exponents).index(0)]])
    risk, difference = both @ shares
    se, difference_se = np.sqrt(1 / K + 1 / (K - 1)) * both.std(2, ddof=1)
    largest = (errors * shares).max(1) / risk
    known = [
        exponents,
        penalties,
        dimensions,
        risk,
        se,
        difference,
        difference_se,
        largest,
    ]
    return [Risk(*row) for row in np.transpose(known).tolist()]


@dataclass(frozen=True, repr=False)
class Report:
    """The findings of `fl.diagnose`; ``print`` it, or end a cell of a notebook with it.

    Attributes:
        rows: with a label.
        target: name of the label; that of a pandas series, or y.
        columns: names of those used (d,).
        left_out: name to reason, of those that were not.
        unlabelled: rows left out because they have no label.
        binary: whether there are two different labels.
        standardised: whether each column was divided by its standard deviation.
        ratio: the largest standard deviation of a column over the smallest, as read.
        lam: eigenvalues (r,) of the covariance, falling.
        noise: share of the variance of the label that is not explained.
        choice: exponent, interval and deviance, `fl.theory.choosing_p.Choice`.
        folds: number of folds.
        risks: of five exponents, and of the estimated one if it is told.
    """

    rows: int
    target: str
    columns: list[str]
    left_out: dict[str, str]
    unlabelled: int
    binary: bool
    standardised: bool
    ratio: float
    lam: np.ndarray
    noise: float
    choice: Choice
    folds: int
    risks: list[Risk]

    @property
    def told(self) -> bool:
        """Whether the table can tell the exponent; if not, keep p = 0."""
        return self.choice.told

    @property
    def cut(self) -> tuple[bool, bool]:
        """Whether the interval is cut by the lower and the upper end of the range."""
        c = self.choice
        return bool(c.low == EXPONENTS[0]), bool(c.high == EXPONENTS[-1])

    def verdict(self) -> str:
        """Return what the likelihood says, in a sentence."""
        c, (below, above) = self.choice, self.cut
        low, high = ("at most " * below, "at least " * above)
        interval = f"95 % interval [{low}{c.low:.2f}, {high}{c.high:.2f}]"
        if not c.told:
            why = f"too few resolved directions ({c.resolved:.1f})"
            if c.resolved > ENOUGH:
                why = f"{c.resolved:.1f} resolved directions, of eigenvalues too much alike"
            if c.signal < SIGNAL:
                why = "next to no linear signal"
            return f"p: cannot tell, keep 0: {why}, {interval}"
        p = f"{c.p:.2f} +- {c.se:.2f}"
        if c.p == EXPONENTS[0]:  # the range ends first
            p = f"at most {c.high:.2f}"
        if c.p == EXPONENTS[-1]:
            p = f"at least {c.low:.2f}"
        inside = c.low <= 0 <= c.high
        zero = "contains 0: keep 0" if inside else "excludes 0: look at the risks"
        return f"p: {p}, {interval}, which {zero}"

    def warnings(self) -> list[str]:
        """Return what limits the findings."""
        n, d = self.rows, len(self.columns)
        cases = {
            "Raw units: p measures them too (the standard deviations of the columns differ "
            f"{self.ratio:.3g} times); standardise.": not self.standardised,
            BARE: len(self.lam) == n - 1,
            SHORT: n < 2 * d,
            CUT: any(self.cut),
            LOUD: max(x.largest for x in self.risks) > 0.5,
            BINARY: self.binary,
            f"{self.unlabelled} rows have no label: left out.": self.unlabelled,
        }
        return [words for words, holds in cases.items() if holds]

    def sections(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Return the tables of the report: title, heading, rows of texts."""
        lam, out = self.lam, list(self.left_out.items())
        facts = {
            "d": len(self.columns),
            "r": len(lam),
            "units": "standardised" if self.standardised else "raw units",
            "median": lam[len(lam) // 2],
            "least": lam[-1],
            "inputs": lam.sum() ** 2 / (lam @ lam),
        }
        read, seen = (
            [[title, text.format(self, **facts)] for title, text in table.items()]
            for table in (READ, SEEN)
        )
        read += [[f"left out: {name}", why] for name, why in out[:MANY]]
        if len(out) > MANY:
            read.append(["left out: ...", f"{len(out) - MANY} more"])
        risks = [list(map(format, x, FORMATS)) for x in self.risks]
        return [
            (f"Table, target {self.target}", ["", ""], read),
            ("Inputs", ["", ""], seen),
            (f"Risk in {self.folds}-fold cross-validation", HEAD, risks),
        ]

    def real(self) -> str:
        """Return which differences of risk are real."""
        names = ", ".join(f"{x.p:+.2f}" for x in self.risks if x.real) or "none"
        return f"{RULE} Beyond that from p = 0: {names}."

    def record(self) -> dict:
        """Return everything as plain numbers, texts and lists; None for what is not finite."""
        known = asdict(self) | {
            "risks": [x._asdict() for x in self.risks],
            "verdict": self.verdict(),
            "real": self.real(),
            "warnings": self.warnings(),
            "scope": SCOPE,
        }
        text = json.dumps(known, default=lambda x: x.tolist())
        return json.loads(text, parse_constant=lambda _: None)

    def __repr__(self) -> str:
        from rich.console import Console

        from fl.diagnose_page import write

        console = Console(
            file=io.StringIO(),
            width=88,
            color_system=None,
            force_jupyter=False,
        )
        write(self, console)
        return console.file.getvalue()

    def _repr_html_(self) -> str:
        from fl.diagnose_page import fragment

        return fragment(self)
