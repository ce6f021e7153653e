r"""Which power of the input covariance is an optimizer? The multiplier of the gradient
along each eigendirection.

A first layer W (h, d) sees Gaussian inputs of covariance S, with eigenvalues
:math:`\lambda_k` and eigenvectors :math:`u_k`; what lies above passes the factor
:math:`a_j` to neuron j, whose Hessian block is :math:`a_j^2S`. With errors
:math:`\Delta_{jk}` of the weights along :math:`u_k` and label noise of variance
:math:`\sigma^2` the gradient of B inputs has

.. math:: \mathbb E g_{jk}=a_j^2\lambda_k\Delta_{jk},\qquad
          \mathbb E g_{jk}^2=a_j^4\Bigl(1+\frac1B\Bigr)\lambda_k^2\Delta_{jk}^2
          +\frac{a_j^2\lambda_k}{B}\Bigl(\sigma^2+a_j^2\sum_l\lambda_l\Delta_{jl}^2\Bigr).

The *multiplier* is the least-squares ratio of update and gradient along :math:`u_k`;
its slope in log-log coordinates is the exponent p, exact for updates :math:`G\,S^p`.
All results are derived in chapter "effective_exponent"; a multiplier is known up to one
common factor, the step size.
"""

import numpy as np
from scipy import special

from fl import validate
from fl.theory.spectral_updates import singular_power

MUON = (3.4445, -4.7750, 2.0315)  # the quintic of the published Newton-Schulz iteration


def slope(lam, multiplier) -> float:
    r"""Return the exponent: the least-squares slope of log ``multiplier`` (d,) on
    :math:`\log\lambda`, the logarithm of ``lam`` (d,).

    >>> round(slope([4.0, 2.0, 1.0], [0.5, 1.0, 2.0]), 6)
    -1.0

    Raises:
        ValueError: for values that are not > 0, fewer than two directions or equal
            eigenvalues, to 1e-12.
    """
    lam = validate.positive("lam", lam)
    multiplier = validate.positive("multiplier", multiplier, (len(lam),))
    x = np.log(lam)
    x = x - x.mean()
    if np.ptp(x) < 1e-12:  # equal, up to the rounding of their mean
        raise ValueError(f"lam = {lam.tolist()}: must hold two different eigenvalues")
    return float(x @ np.log(multiplier) / (x @ x))


def second_moment(
    lam, signal: float, noise: float, batch: float = np.inf
) -> np.ndarray:
    r"""Return :math:`\mathbb E g_k^2` (d,) for the eigenvalues ``lam`` (d,),
    :math:`a=1` and :math:`\lvert\Delta_k\rvert` = ``signal`` everywhere.

    ``noise`` is :math:`\sigma^2`; ``batch`` = inf is the whole population, without
    label noise or sampling noise.

    Raises:
        ValueError: for a signal, noise or eigenvalue out of range, or a batch < 1.
    """
    lam = validate.positive("lam", lam)
    signal = validate.number("signal", signal, 0)
    noise = validate.number("noise", noise, 0)
    share = _share(batch)
    square = (lam * signal) ** 2
    spread = noise + signal**2 * lam.sum()
    return square + share * (square + lam * spread)


def damped(lam, damping: float, output: float = 1.0) -> np.ndarray:
    r"""Return :math:`1/(g\lambda+\delta)` (d,): K-FAC and the natural gradient of
    ``damping`` :math:`\delta`, ``output`` g is the other factor.

    The eigenvalues are ``lam`` (d,). The local exponent is
    :math:`-g\lambda/(g\lambda+\delta)`: -1 well above :math:`\delta/g`, 0 well below.

    Raises:
        ValueError: for an eigenvalue or ``output`` that is not > 0, or a damping < 0.
    """
    lam = validate.positive("lam", lam)
    output = validate.number("output", output, 0, open_low=True)
    damping = validate.number("damping", damping, 0)
    return 1 / (output * lam + damping)


def normalised(moment) -> np.ndarray:
    r"""Return ``moment`` to the power -1/2, (d,): what divides by the size of the
    gradient itself.

    With :math:`\mathbb E g_k^2` this is Adam on its axes, SOAP in any basis, and the
    polar factor of a wide layer. The noise part of the moment is proportional to
    :math:`\lambda`, its signal part to :math:`\lambda^2`: p = -1/2 and -1.

    Raises:
        ValueError: for a moment that is not > 0.
    """
    return validate.positive("moment", moment) ** -0.5


def averaged(
    lam, signal: float, noise: float, batch: float, memory: float, window: int
) -> np.ndarray:
    r"""Return the share (d,) of a window's gradient sum that reaches the update through
    an average of ``memory`` :math:`\beta`.

    The constant part passes whole. Of independent noise a ``window`` of L steps sees
    :math:`1-\frac1L\frac{\beta(1-\beta^L)}{1-\beta}`, the rest falls outside. In
    between the two parts count by their squares in the sum over the window, which are
    as :math:`L\mu^2` to the variance; ``lam`` (d,), ``signal``, ``noise`` and ``batch``
    as in `second_moment`.

    Raises:
        ValueError: for a memory outside [0, 1), a window < 1, a law out of range, or one
            without gradients.
    """
    beta = _memory("memory", memory)
    L = validate.count("window", window)
    lam = validate.positive("lam", lam)
    mean = (lam * signal) ** 2
    variance = second_moment(lam, signal, noise, batch) - mean
    outside = beta * (1 - beta**L) / (1 - beta) / L
    whole = validate.positive("square of the gradients", L * mean + variance)
    return 1 - outside * variance / whole


def hutchinson_square(S, batch: float = np.inf) -> np.ndarray:
    r"""Return the mean square (d,) of Hutchinson's estimate :math:`z\odot\hat Sz`,
    random signs z, of the diagonal.

    .. math:: \mathbb E\hat h_r^2=\Bigl(1+\frac1B\Bigr)(S^2)_{rr}
              +\frac{S_{rr}\operatorname{tr}S}{B}

    for the input covariance ``S`` (d, d) and B = ``batch``, inf for the population.

    On the axes it is :math:`\lambda_r^2` while
    :math:`\lambda_r\gg\operatorname{tr}S/B`, and proportional to :math:`\lambda_r`
    below: there AdaHessian sees a square root of the curvature.

    Raises:
        ValueError: for an S that is not PSD, or a batch < 1.
    """
    S = validate.psd("S", S)
    share = _share(batch)
    squares = (S**2).sum(1)
    cross = np.diag(S) * np.trace(S)
    return squares + share * (squares + cross)


def clipped(lam, clip: float, spread) -> np.ndarray:
    r"""Return the multiplier (d,) of :math:`\mathrm{clip}(m/\lambda,\rho)` for Gaussian
    m of standard deviation s = ``spread`` (d,), :math:`\lambda` = ``lam`` (d,) and
    :math:`\rho` = ``clip``.

    By Stein's identity it is :math:`\Pr(\lvert
    m\rvert<\rho\lambda)/\lambda=\operatorname{erf}(\rho\lambda/s\sqrt2)/\lambda`.
    Unclipped this is :math:`1/\lambda`; where nearly all is clipped it is
    :math:`\sqrt{2/\pi}\,\rho/s`, sign descent.

    Raises:
        ValueError: for an entry or clip that is not > 0, or shapes that do not fit.
    """
    lam = validate.positive("lam", lam)
    s = validate.positive("spread", spread, (len(lam),))
    clip = validate.number("clip", clip, 0, open_low=True)
    inside = special.erf(clip * lam / s / np.sqrt(2))
    return inside / lam


def ascent(lam, rho: float, size: float) -> np.ndarray:
    r"""Return :math:`1+\rho\lambda/\lvert g\rvert` (d,): SAM of radius ``rho`` where
    the loss is quadratic with eigenvalues ``lam`` (d,), ``size`` the gradient's norm.

    The local exponent is :math:`x/(1+x)` with :math:`x=\rho\lambda/\lvert g\rvert`: 0
    while the gradient is large, and +1 as it vanishes.

    Raises:
        ValueError: for an eigenvalue or size that is not > 0, or a radius < 0.
    """
    lam = validate.positive("lam", lam)
    rho = validate.number("rho", rho, 0)
    size = validate.number("size", size, 0, open_low=True)
    return 1 + rho * lam / size


def polar(lam, fluctuation: float = 0.0) -> np.ndarray:
    r"""Return the multiplier (d,) of the polar factor of a noise gradient: that of
    :math:`\mathbb E(G^\top G)^{1/2}` for the eigenvalues ``lam`` (d,).

    ``fluctuation`` :math:`\epsilon` is the relative variance of :math:`G^\top G`: 1/h
    for h independent rows of covariance S, 1/h + 1/B if they share one batch of B
    inputs. To second order

    .. math:: \lambda_k^{-1/2}\Bigl[1-\frac{\epsilon}{2}\sum_l
              \frac{(1+1\{k=l\})\,\lambda_l}{(\sqrt{\lambda_k}+\sqrt{\lambda_l})^2}\Bigr].

    Raises:
        ValueError: for an eigenvalue that is not > 0, a fluctuation outside [0, 1], or
            one for which the correction exceeds one half.
    """
    lam = validate.positive("lam", lam)
    return singular_power(lam, 0.0, fluctuation)


def newton_schulz(moment) -> np.ndarray:
    r"""Return what Muon's unfinished iteration multiplies singular values by, for G'G
    of eigenvalues ``moment`` (d,).

    The values :math:`s_k=\sqrt{m_k/\sum m}` are sent to :math:`\phi(s)=as+bs^3+cs^5`
    five times; the multiplier is :math:`\phi^{(5)}(s_k)/s_k`, within a third of the
    polar factor's :math:`1/s_k`.

    Raises:
        ValueError: for a moment that is not > 0.
    """
    moment = validate.positive("moment", moment)
    s = start = np.sqrt(moment / moment.sum())
    a, b, c = MUON
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    return s / start


def two_sided(lam, width: int, memory: float, momentum: float) -> np.ndarray:
    r"""Return the multiplier (d,) of Shampoo, exponents -1/4, on noise gradients with h
    = ``width`` rows; ``memory`` :math:`\beta`, ``momentum`` :math:`\mu`; the
    eigenvalues are ``lam`` (d,).

    The right factor gives :math:`\lambda^{-1/4}`. The left factor holds the gradient of
    age s with the weight :math:`w_s=(1-\beta)\beta^s`, and the rest, many independent
    gradients, is :math:`\operatorname{tr}S` times the identity; so the part of the
    averaged gradient that has age s is multiplied by
    :math:`[1-w_s+w_s\,h\lambda_k/\operatorname{tr}S]^{-1/4}`. Its shares are
    :math:`(1-\mu)\mu^s`.

    Long memory, :math:`h(1-\beta)\to0`: p = -1/4. No memory: :math:`\lambda^{-1/2}`,
    the polar factor. In between it is leading order in h over the number of independent
    directions that the left factor averages.

    Raises:
        ValueError: for an eigenvalue <= 0, a width < 1, or a memory outside [0, 1).
    """
    lam = validate.positive("lam", lam)
    beta = _memory("memory", memory)
    mu = _memory("momentum", momentum)
    width = validate.count("width", width)
    size = width * lam / lam.sum()
    # older gradients have no share
    oldest = np.log(1e-16) / np.log(mu) if mu else 0
    age = np.arange(1 + int(oldest))
    weight = (1 - beta) * beta**age
    inner = 1 - weight + np.outer(size, weight)
    shares = (1 - mu) * mu**age
    left = inner**-0.25 @ shares
    return lam**-0.25 * left


def matrix_gain(gram, seen, function) -> np.ndarray:
    r"""Return the multiplier (d,) along the axes of an update :math:`G\,f(\Gamma)`
    where :math:`G^\top G` is ``seen``.

    ``gram`` is :math:`\Gamma` (d, d), ``function`` takes its eigenvalues to those of
    :math:`f(\Gamma)`. The multiplier is :math:`(f(\Gamma)C)_{kk}/C_{kk}` with C =
    ``seen``: a power of :math:`\lambda_k` only if the eigenvectors of :math:`\Gamma`
    are the axes.

    Raises:
        ValueError: for a matrix that is not PSD, ``seen`` with a zero on the diagonal,
            or a function that is not finite at the eigenvalues of ``gram``.
    """
    gram = validate.psd("gram", gram)
    C = validate.psd("seen", seen)
    size = validate.positive("diagonal of seen", np.diag(C))
    values, vectors = np.linalg.eigh(gram)
    with np.errstate(divide="ignore", invalid="ignore"):
        raised = validate.array("function of gram", function(values), (len(size),))
    metric = (vectors * raised) @ vectors.T
    return np.diag(metric @ C) / size


def turned(diagonal, U) -> np.ndarray:
    r"""Return the multiplier (d,) along the columns :math:`u_k` of ``U`` of a diagonal
    preconditioner ``diagonal`` (d,).

    It is :math:`u_k^\top Du_k=\sum_rU_{rk}^2D_r` for gradients whose covariance has the
    eigenvectors :math:`u_k`: an average over coordinates that levels the multipliers,
    whatever D is.

    Raises:
        ValueError: for an entry that is not > 0, or shapes that do not fit.
    """
    D = validate.positive("diagonal", diagonal)
    U = validate.array("U", U, (len(D), len(D)))
    return U.T**2 @ D


def _memory(name: str, value) -> float:
    value = validate.number(name, value, 0, 1)
    if value == 1:
        raise ValueError(f"{name} = {value!r}: must be < 1, or nothing ever changes")
    return value


def _share(batch: float) -> float:
    if batch == np.inf:
        return 0.0
    return 1 / validate.count("batch", batch)
