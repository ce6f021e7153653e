r"""Links: scalar functions with derivative, kinks, Hermite coefficients and moments.

A teacher labels with one, a student's neurons apply one; ``tau`` is the scale at which
it sees a standard normal :math:`z`, that is :math:`f(\tau z)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from fl import numerics, validate


@dataclass(frozen=True)
class Link:
    """A scalar function with its derivative and the points where it is not smooth.

    ``exact(degree, tau)``, if given, returns the Hermite coefficients in closed form.
    """

    name: str
    f: Callable = field(repr=False)
    slope: Callable = field(repr=False)
    kinks: tuple[float, ...] = ()
    exact: Callable[[int, float], np.ndarray] | None = field(default=None, repr=False)

    def __call__(self, u):
        """Return the link at ``u``, elementwise."""
        return self.f(u)

    def hermite(self, degree: int, tau: float = 1.0) -> np.ndarray:
        r"""Return the normalised Hermite coefficients of :math:`z\mapsto f(\tau z)`.

        Shape (``degree`` + 1,), at the scale ``tau``; in closed form where the link has
        one, else by a quadrature cut at the kinks.

        Raises:
            ValueError: if ``degree`` < 0 or ``tau`` is not a finite number > 0.
        """
        tau = validate.number("tau", tau, 0, open_low=True)
        if self.exact is not None:
            return self.exact(degree, tau)
        scaled = lambda z: self.f(tau * z)  # noqa: E731
        return numerics.hermite_coefficients(scaled, degree, self._cuts(tau))

    def moments(self, tau: float = 1.0) -> tuple[float, float, float]:
        r"""Return mean, variance and mean slope :math:`c_1 = \mathbb E f'(\tau z)`.

        Raises:
            ValueError: if ``tau`` is not a finite number > 0.
        """
        tau = validate.number("tau", tau, 0, open_low=True)
        nodes, weights = self._rule(tau, self.f, self.slope)
        mean, variance = _spread(weights, self.f(tau * nodes))
        slope = weights @ self.slope(tau * nodes)
        return mean, variance, float(slope)

    def slope_variance(self, tau: float = 1.0) -> float:
        r"""Return the variance of the derivative of :math:`z\mapsto f(\tau z)`.

        Raises:
            ValueError: if ``tau`` is not a finite number > 0.
        """
        tau = validate.number("tau", tau, 0, open_low=True)
        nodes, weights = self._rule(tau, lambda u: tau * self.slope(u))
        slopes = tau * self.slope(tau * nodes)
        _, variance = _spread(weights, slopes)
        return variance

    def __reduce__(self):
        # lambdas do not pickle; a named link travels to workers by its name
        if LINKS.get(self.name) is self:
            return _named_link, (self.name,)
        return super().__reduce__()

    def _rule(self, tau: float, *functions: Callable) -> tuple:
        """Return nodes and weights that resolve functions of tau z, and their squares."""

        def outputs(z):
            values = np.stack([f(tau * z) for f in functions])
            return np.concatenate([values, values**2])

        try:
            return numerics.resolving_rule(outputs, self._cuts(tau))
        except ValueError as error:
            raise ValueError(
                f"tau = {tau:g} of the link {self.name}: {error}"
            ) from None

    def _cuts(self, tau: float) -> list[float]:
        """Return the kinks in units of the scale; at a large scale the link bends close to
        the origin, where the pieces get shorter.
        """
        short = 2.0 ** np.arange(np.log2(tau)) / tau
        return [*(k / tau for k in self.kinks), *short, *-short]


def _spread(weights, values) -> tuple[float, float]:
    mean = float(weights @ values)
    variance = weights @ (values - mean) ** 2
    return mean, float(variance)


def _named_link(name: str) -> Link:
    return LINKS[name]


def _relu(u):
    return np.maximum(u, 0.0)


def _step(u):
    return np.heaviside(u, 0.5)


def _erf_slope(u):
    top = 2 / np.sqrt(np.pi)
    near = np.minimum(
        np.abs(u), 40.0
    )  # beyond, the square overflows and the value is 0
    return top * np.exp(-(near**2))


def _softplus10(u):
    u = np.asarray(u, dtype=float)
    return np.logaddexp(0.0, 10.0 * u)


def _softplus10_slope(u):
    return 10 * special.expit(10 * u)


_ALL = [
    Link("linear", lambda u: u, np.ones_like),
    Link("relu", _relu, _step, (0.0,), numerics.hermite_relu),
    Link("abs", np.abs, np.sign, (0.0,), numerics.hermite_abs),
    Link("tanh", np.tanh, lambda u: 1 - np.tanh(u) ** 2, (0.0,)),
    Link("erf", special.erf, _erf_slope, (), numerics.hermite_erf),
    Link("sin", np.sin, np.cos),
    Link("square", lambda u: u**2, lambda u: 2 * u),
    # log(1 + e^(10 u)), the link of [YN25]; it bends within 1/10 of the origin, so the
    # origin is a cut
    Link("softplus10", _softplus10, _softplus10_slope, (0.0,)),
]
LINKS = {link.name: link for link in _ALL}
