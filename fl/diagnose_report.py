"""What `fl.diagnose` found, and how it is said: as text, as a record, as a page."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

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
LOWEST, *_, HIGHEST = EXPONENTS.tolist()
TINY = np.finfo(float).tiny  # a risk may be nothing at all
FLAT = 1e-3  # of the risk: a difference that matters to nobody
ENOUGH = 14  # directions for an interval of 1.5 if the sd of their log eigenvalues is 1


def compared(exponents, penalties, dimensions, errors, sizes) -> pd.DataFrame:
    r"""Return the risks of ``exponents`` (P,), 0 among them, with their ``penalties`` and
    ``dimensions`` (P,), from ``errors`` (P, K) on folds of ``sizes`` (K,) rows.

    A row has the exponent ``p``, the ``penalty`` :math:`\rho` of
    :math:`\min_w\frac1n|y-Xw|^2+\rho\,w^\top\hat\Sigma^{-p}w`, the effective ``dimension``,
    the sum over directions of what is kept of each; the ``risk``, mean squared error over
    the variance of the label, and its standard error ``se``; its ``difference`` from that
    at p = 0, with ``difference_se`` over paired folds; and the ``largest`` share that one
    fold has in the risk. The standard errors are those of Nadeau and Bengio: training sets
    overlap, and the scatter of K folds counts with the weight 1/K + 1/(K-1) in place of 1/K.
    """
    K = len(sizes)
    shares = sizes / sizes.sum()
    scatter = np.sqrt(1 / K + 1 / (K - 1))
    gaps = errors - errors[list(exponents).index(0)]
    risk = errors @ shares
    return pd.DataFrame(
        {
            "p": exponents,
            "penalty": penalties,
            "dimension": dimensions,
            "risk": risk,
            "se": scatter * errors.std(1, ddof=1),
            "difference": gaps @ shares,
            "difference_se": scatter * gaps.std(1, ddof=1),
            "largest": (errors * shares).max(1) / np.maximum(risk, TINY),
        }
    )


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
        risks: of five exponents, and of the estimated one if it is told, as `compared`.
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
    risks: pd.DataFrame

    @property
    def told(self) -> bool:
        """Whether the table can tell the exponent; if not, keep p = 0."""
        return self.choice.told

    @property
    def cut(self) -> tuple[bool, bool]:
        """Whether the interval is cut by the lower and the upper end of the range."""
        return self.choice.low == LOWEST, self.choice.high == HIGHEST

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
        if c.p == LOWEST:  # the range ends first
            p = f"at most {c.high:.2f}"
        if c.p == HIGHEST:
            p = f"at least {c.low:.2f}"
        inside = c.low <= 0 <= c.high
        zero = "contains 0: keep 0" if inside else "excludes 0: look at the risks"
        return f"p: {p}, {interval}, which {zero}"

    def warnings(self) -> list[str]:
        """Return what limits the findings."""
        cases = {
            "Raw units: p measures them too (the standard deviations of the columns differ "
            f"{self.ratio:.3g} times); standardise.": not self.standardised,
            BARE: len(self.lam) == self.rows - 1,
            SHORT: self.rows < 2 * len(self.columns),
            CUT: any(self.cut),
            LOUD: self.risks.largest.max() > 0.5,
            BINARY: self.binary,
            f"{self.unlabelled} rows have no label: left out.": self.unlabelled,
        }
        return [words for words, holds in cases.items() if holds]

    def real(self) -> str:
        """Return which differences of risk are real."""
        x = self.risks
        least = np.maximum(2 * x.difference_se, FLAT * x.risk)
        beyond = x.p[x.difference.abs() > least]
        names = ", ".join(map("{:+.2f}".format, beyond)) or "none"
        return f"{RULE} Beyond that from p = 0: {names}."

    def record(self) -> dict:
        """Return everything as plain numbers, texts and lists; None for what is not finite."""
        known = asdict(self) | {
            "risks": self.risks.to_dict("records"),
            "inputs": self.lam.sum() ** 2 / (self.lam @ self.lam),
            "verdict": self.verdict(),
            "real": self.real(),
            "warnings": self.warnings(),
            "scope": SCOPE,
        }
        text = json.dumps(known, default=lambda x: x.tolist())
        return json.loads(text, parse_constant=lambda _: None)

    def __rich__(self):
        from rich.markdown import Markdown

        from fl.diagnose_page import written

        return Markdown(written(self, "report.md"))

    def __repr__(self) -> str:
        from rich.console import Console

        console = Console(width=88, color_system=None, force_jupyter=False)
        with console.capture() as shown:
            console.print(self)
        return shown.get()

    def _repr_html_(self) -> str:
        from fl.diagnose_page import written

        return written(self, "report.html")
