r"""The linear student on power laws: flow and interpolation, with their first
corrections.

Letters as in `fl.theory.alignment_ridge`: speeds :math:`t_r=r^{-q}` with
:math:`q=a(p+1)`, energies :math:`e_r=r^{-b}`. Derived in chapter "alignment".
"""

import numpy as np
from scipy.special import gamma as gamma_function
from scipy.special import gammaln, zeta

from fl import validate


def flow_power_law(q: float, b: float, t) -> np.ndarray:
    r"""Return :math:`\Gamma(s)(2t)^{-s}/q`, :math:`s=(b-1)/q`: the flow's risk on power
    laws, at the times ``t`` (T,).

    Speeds :math:`\lambda_r^{p+1}=r^{-q}`, energies :math:`e_r=r^{-b}`; valid for
    :math:`1\ll(2t)^{1/q}\ll d`. With :math:`\lambda_r=r^{-a}` the exponent is
    :math:`q=a(p+1)`.

    Raises:
        ValueError: unless ``q`` > 0, ``b`` > 1 and all times are > 0, and the law is a
            floating-point number there.
    """
    q, s = _exponents(q, b, 0)
    t = validate.positive("t", t, ("T",))
    with np.errstate(over="ignore"):
        risk = np.exp(gammaln(s) - s * np.log(2 * t)) / q
    if not np.isfinite(risk).all():
        raise ValueError(f"t has smallest entry {t.min():g}: the law overflows there")
    return risk


def interpolation_power_law(q: float, b: float, n: int) -> tuple[float, float]:
    r"""Return the excess risk of the interpolator of ``n`` samples for
    :math:`t_r=r^{-q}`, :math:`e_r=r^{-b}`: signal part, noise part.

    .. math:: C(q)\,N^{-(b-1)},\quad
              C(q)=\Gamma(2-s)\,\Gamma(s)\Bigl[\frac{\pi/q}{\sin(\pi/q)}\Bigr]^{b-1},\quad
              s=\frac{b-1}{q};\qquad q-1\ \text{per unit of label noise},

    in the limit :math:`d/N\to\infty`, then :math:`N\to\infty`.

    Raises:
        ValueError: unless ``q`` > 1 and 1 < ``b`` < 2q + 1.
    """
    q, s = _exponents(q, b, 1)
    if s >= 2:
        raise ValueError(
            f"b = {b!r}: must be < 2q + 1 = {2 * q + 1:g}, beyond it the rate saturates"
        )
    n = validate.count("n", n)
    constant = gamma_function(2 - s) * gamma_function(s)
    ratio = _sinc(q) / n
    signal = constant * ratio ** (b - 1)
    return float(signal), q - 1


def interpolation_correction(q: float, b: float, n: int, d: int) -> np.ndarray:
    r"""Return the terms of the first relative corrections of `interpolation_power_law`,
    (2, 4): of the signal part and, two of them zero, of the noise part.

    With :math:`c=\frac{\pi/q}{\sin(\pi/q)}`, the tail :math:`\theta=\frac{(N/d)^{q-1}}
    {(q-1)c^q}` and :math:`\zeta` Riemann's,

    .. math:: -\frac b{2N}+(q-b)\,\theta-\frac{q\,(N/d)^{b-1}}{(b-1)\,C(q)}
              +\frac{q\,\zeta(b-2q)\,c^{2q}}{C(q)}N^{-(2q+1-b)},\qquad
              \frac q{q-1}\Bigl((q-1)\,\theta-\frac1{2N}\Bigr).

    ``q``, ``b`` and ``n`` are those of the law, ``d`` is the number of inputs. Derived
    in chapter "alignment".

    Raises:
        ValueError: for what the law refuses, or ``d`` below ``n``.
    """
    constant, _ = interpolation_power_law(q, b, 1)
    d = validate.count("d", d, minimum=n)
    c = _sinc(q)
    ratio = n / d
    tail = ratio ** (q - 1) / c**q
    tail = tail / (q - 1)
    half = 1 / (2 * n)
    missing = ratio ** (b - 1) / (b - 1)
    beta = b - 2 * q
    scale = float(n) ** (beta - 1)
    first_modes = zeta(beta) * c ** (2 * q) * scale
    ends = np.array([first_modes, -missing])
    ends *= q / constant
    bulk = (q - b) * tail
    signal = [bulk, -b * half, *ends]
    noise = [q * tail, -q * half / (q - 1), 0, 0]
    return np.array([signal, noise])


def flow_correction(q: float, b: float, t, d: int, eta: float) -> np.ndarray:
    r"""Return the relative corrections of `flow_power_law` at the times ``t`` (T,): of
    the modes beyond ``d``, and of steps of size ``eta``, to their second order.

    .. math:: -\frac{q\,d^{1-b}(2t)^s}{(b-1)\,\Gamma(s)}-\frac{\eta\,s(s+1)}{4t}
              +\frac{\eta^2s(s+1)(s+2)}{t^2}\Bigl(\frac{s+3}{32}-\frac1{12}\Bigr).

    ``q`` and ``b`` are those of the law. Derived in chapter "alignment".

    Raises:
        ValueError: for what the law refuses, ``d`` no count, or ``eta`` < 0.
    """
    q, s = _exponents(q, b, 0)
    t = validate.positive("t", t, ("T",))
    d = validate.count("d", d)
    eta = validate.number("eta", eta, 0)
    energy = float(d) ** (1 - b) / (b - 1)
    missing = energy / flow_power_law(q, b, t)
    curvature = s * (s + 1) / 4
    size = eta / t
    next_order = (s + 3) / 8 - 1 / 3
    again = (s + 2) * next_order * size
    step = curvature * size
    step *= 1 - again
    return -missing - step


def _sinc(q: float) -> float:
    angle = np.pi / q
    return angle / np.sin(angle)


def _exponents(q, b, above):
    q = validate.number("q", q, above, open_low=True)
    b = validate.number("b", b, 1, open_low=True)
    return q, (b - 1) / q
