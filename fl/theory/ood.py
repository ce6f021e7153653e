r"""Which of two cues does a linear rule follow? Predictions for the tests that set a
digit against a pattern.

With :math:`m_c` the mean of class c after centring and :math:`\Sigma` the covariance of
all training inputs, the rule

.. math:: \hat y(x)=\arg\max_c\; m_c^\top\Sigma^p\bigl(x-\tfrac12m_c\bigr)

is what the first step of a preconditioned network sees: its rows move along the
:math:`\Sigma^pm_c`. At p = 0 it takes the nearest class mean; at p = -1 its directions
are the linear discriminants. Derived in the chapter `ood`, like all of this module.
"""

import numpy as np
from scipy.special import ndtr

from fl import numerics, validate

# of the largest eigenvalue, added to the covariance before its power is taken
FLOOR = 1e-6


def class_means(X, labels) -> np.ndarray:
    """Return the means of the classes minus the mean of all rows, (C, d), classes in
    the order of their labels.

    Args:
        X: inputs (n, d), one row per image.
        labels: their classes (n,).

    Raises:
        ValueError: if the shapes do not fit or a number is not finite.
    """
    X, labels = _labelled(X, labels)
    means = [X[labels == c].mean(0) for c in np.unique(labels)]
    return np.array(means) - X.mean(0)


def directions(X, labels, p: float) -> np.ndarray:
    r"""Return :math:`\Sigma^p m_c` for all classes, (C, d); at p = -1 the linear
    discriminant directions.

    :math:`\Sigma` is the covariance of all rows, with ``FLOOR`` times its largest
    eigenvalue added. It holds the variance between classes too; for p = -1 this changes
    the directions' lengths but not their span.

    Args:
        X: inputs (n, d), one row per image.
        labels: their classes (n,).
        p: the exponent.

    Raises:
        ValueError: if the shapes do not fit, a number is not finite, the inputs are all
            the same, or a power of an eigenvalue overflows.
    """
    X, labels = _labelled(X, labels)
    p = validate.number("p", p)
    covariance = np.atleast_2d(np.cov(X.T, bias=True))
    values, vectors = np.linalg.eigh(covariance)
    if values[-1] <= 0:
        raise ValueError("X has no variance: must hold at least two different rows")
    raised = values.clip(0) + FLOOR * values[-1]
    with np.errstate(over="ignore", under="ignore"):
        powers = raised**p
    if not (np.isfinite(powers).all() and powers.all()):
        raise ValueError(f"p = {p!r}: must leave the powers of the eigenvalues finite")
    metric = (vectors * powers) @ vectors.T
    return class_means(X, labels) @ metric


def linear_rule(X, labels, new, p: float) -> np.ndarray:
    """Return the classes (k,) of the rows of ``new`` (k, d) by the rule of exponent
    ``p`` learned on ``X`` (n, d) and ``labels`` (n,).

    Raises:
        ValueError: if the shapes do not fit, a number is not finite, the inputs are all
            the same, or a power of an eigenvalue overflows.
    """
    X, labels = _labelled(X, labels)
    new = validate.array("new", new, ("k", X.shape[1]))
    V = directions(X, labels, p)
    half = class_means(X, labels) / 2
    offset = np.sum(V * half, 1)
    scores = (new - X.mean(0)) @ V.T - offset
    return np.unique(labels)[scores.argmax(1)]


def share_in_span(W, V, metric) -> float:
    r"""Return the share of :math:`\mathrm{tr}(WMW^\top)` that the rows of ``W`` (h, d)
    have in the span of those of ``V`` (c, d).

    Lengths and right angles are those of the PSD ``metric`` M (d, d); with M the
    covariance of the inputs the share is that of the variance of the pre-activations
    W x.

    Raises:
        ValueError: if the shapes do not fit, M is not PSD, or W has no length.
    """
    W = validate.array("W", W, ("h", "d"))
    V = validate.array("V", V, ("c", W.shape[1]))
    metric = validate.array("metric", metric, (W.shape[1], W.shape[1]))
    root = numerics.psd_power(validate.psd("metric", metric), 0.5)
    W = W @ root
    V = V @ root
    if not W.any():
        raise ValueError(
            "W has no length in this metric: must have a row that is not zero"
        )
    _, s, basis = np.linalg.svd(V, full_matrices=False)
    basis = basis[s > 1e-10 * s[0]]
    inside = np.linalg.norm(W @ basis.T)
    share = (inside / np.linalg.norm(W)) ** 2
    return float(share)


def pattern_reading(digit, neither=0.0, agree=0.1, congruent=1.0):
    r"""Return the accuracy N against the pattern, given the accuracy D = ``digit``
    against the digit where the two disagree.

    .. math:: N = aC + (1-a)(1 - D - \nu)

    with a = ``agree`` the share of test images whose two cues agree, C = ``congruent``
    the accuracy there, and :math:`\nu` = ``neither`` the share of conflicts in which
    neither cue is followed. For a = 1/10 and C = 1 this is :math:`D + N = 1 + 0.1D -
    0.9\nu`. Exact if D and :math:`\nu` are those of the same conflicting images. All four
    are numbers or arrays of shapes that fit.

    Who reads digits alone is right about a tenth of the patterns:

    >>> float(pattern_reading(1.0))
    0.1

    Raises:
        ValueError: for an argument outside [0, 1], or ``digit`` and ``neither`` that
            add up to more than 1.
    """
    digit = _shares("digit", digit)
    neither = _shares("neither", neither)
    together = np.max(digit + neither)
    validate.number("digit + neither", together, high=1 + 1e-9)
    agree = _shares("agree", agree)
    congruent = _shares("congruent", congruent)
    return agree * congruent + (1 - agree) * (1 - digit - neither)


def _shares(name: str, value) -> np.ndarray:
    value = np.asarray(value)
    inside = (value >= 0) & (value <= 1)
    if not inside.all():
        raise ValueError(f"{name} = {value}: must lie in [0, 1]")
    return value


def two_cues(a: float, b: float, v: float, w: float, p: float) -> tuple[float, float]:
    r"""Return the accuracies (D, C) of the linear rule in the plane where the two cues
    disagree and where they agree.

    Two equally frequent classes :math:`y=\pm1` with inputs :math:`x = y(a, b) + (\sqrt
    v\,z_1, \sqrt w\,z_2)`: the first coordinate is the digit, the second the pattern,
    which the test turns round; ``a`` and ``b`` are the sizes of the cues, ``v`` and
    ``w`` their variances within a class, ``p`` the exponent. The rule is the sign of
    :math:`\beta^\top x` with :math:`\beta=\Sigma^p(a,b)`, hence

    .. math:: D=\Phi\Bigl(\frac{a\beta_1-b\beta_2}
              {\sqrt{v\beta_1^2+w\beta_2^2}}\Bigr),\qquad
              C=\Phi\Bigl(\frac{a\beta_1+b\beta_2}
              {\sqrt{v\beta_1^2+w\beta_2^2}}\Bigr).

    At p = 0 the larger of :math:`a^2, b^2` wins; at p = -1 the larger of :math:`a^2/v,
    b^2/w`. The power of the 2 x 2 matrix is taken by interpolation between its two
    eigenvalues, in logarithms, so that ``p`` may be large.

    Raises:
        ValueError: if a or b is not positive, v or w not positive, or p not a number
            in [-1e300, 1e300].
    """
    for name, value in {"a": a, "b": b, "v": v, "w": w}.items():
        validate.number(name, value, 0, open_low=True)
    p = validate.number("p", p, -1e300, 1e300)
    m = np.array([a, b])
    within = np.array([v, w])
    others = within[::-1]
    squares = m**2
    total = squares + within
    apart = np.hypot(np.diff(total), 2 * a * b)
    largest = (total.sum() + apart) / 2
    smallest = (v * w + squares @ others) / largest
    # Sigma^p m = h(at) m: h is the line through x^p at the two eigenvalues, at is
    # |m|^2 + within; long and short are its distances to them
    gap = within - others
    middle = squares.sum() + gap
    long = (apart + abs(middle)) / 2
    short = -gap * squares[::-1] / long
    terms = np.where(middle > 0, [long, short], [short, long])
    logs = p * np.log([largest, smallest])
    with np.errstate(divide="ignore"):
        logs = logs + np.log(abs(terms))
    powers = np.exp(logs - logs.max())
    beta = m * np.sum(np.sign(terms) * powers, 0)
    spread = np.sqrt(beta**2 @ within)
    digit, pattern = m * beta
    conflict = ndtr((digit - pattern) / spread)
    agreement = ndtr((digit + pattern) / spread)
    return float(conflict), float(agreement)


def _labelled(X, labels) -> tuple[np.ndarray, np.ndarray]:
    X = validate.array("X", X, ("n", "d"))
    labels = np.asarray(labels)
    if labels.shape != (len(X),):
        raise ValueError(
            f"labels has shape {labels.shape}: must be ({len(X)},), "
            "one for each row of X"
        )
    if labels.dtype.kind == "f":
        validate.array("labels", labels, ("n",))
    return X, labels
