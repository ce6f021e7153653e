r"""The spike in three matrices after a preconditioned step: the weights, the weights as
the features see them, and the weights from a start that has the preconditioner's shape.

All are :math:`M=H^{1/2}Z/\sqrt d+\eta\,v\,a^\top` with Z iid N(0, 1), :math:`H` diagonal
and :math:`|a|=1`; derived in chapter "unified".
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from fl import validate
from fl.theory.unified import Problem

LAYERS = ("weights", "features", "start")


class Spiked(NamedTuple):
    r"""``h``, the diagonal of H (d,) or levels of equal weight; ``square`` =
    :math:`\mathbb Ev_j^2` and ``along`` = :math:`w_j\,\mathbb Ev_j` with a unit vector
    w, both (d,); ``psi2`` = N/d.
    """

    h: np.ndarray
    square: np.ndarray
    along: np.ndarray
    psi2: float

    def bulk(self, q: float) -> float:
        r"""Return :math:`\psi_2-\bar{\mathbb E}[h^2/(q-h)^2]` at a ``q`` > max h: 0 at
        the edge of the bulk, positive beyond.
        """
        share = self.h / (q - self.h)
        return self.psi2 - np.mean(share**2)

    def sum(self, q: float) -> float:
        r"""Return :math:`\sum_j\mathbb Ev_j^2/(q-h_j)` at a ``q`` > max h."""
        return self.square @ (1 / (q - self.h))


def spiked(problem: Problem, phi, layer: str = "weights") -> Spiked:
    r"""Return the model of a ``layer``, one of `LAYERS`, for ``problem``, P with the eigenvalues
    ``phi`` (d,) > 0.

    ``weights``: W1, w the teacher's direction. ``features``: :math:`\Sigma^{1/2}W_1`,
    w = :math:`\Sigma^{1/2}\beta^\star`. ``start``: W1 from :math:`W_0=P^{1/2}
    Z/\sqrt d`; there P is first normalised to :math:`\bar{\mathbb E}[P\Sigma]=1`.

    Raises:
        ValueError: for an unknown layer or a filter that is not positive.
    """
    s = problem.s
    phi = validate.positive("phi", phi, s.shape)
    h = np.ones_like(phi)
    if validate.choice("layer", layer, LAYERS) == "start":
        h = phi = phi / np.mean(phi * s)
    tau2, slope, _, nu = problem.moments
    signal = s * problem.b
    size = problem.pair.mu1 * slope * phi
    square = size**2 * s * (signal + nu / problem.psi1 / len(s))
    along = size * signal
    if layer == "features":
        return Spiked(s, s * square, s * along / tau2**0.5, problem.psi2)
    return Spiked(h, square, along, problem.psi2)


def bulk_edge(model: Spiked) -> float:
    r"""Return the q > max h of the edge of the bulk of ``model``, where
    :math:`\bar{\mathbb E}[h^2/(q-h)^2]=\psi_2`.
    """
    top = model.h.max()
    return brentq(
        model.bulk,
        top * (1 + 1e-12),
        top * (1 + 2 * model.psi2**-0.5),
        xtol=1e-14,
        rtol=1e-14,
    )


def threshold(model: Spiked) -> float:
    r"""Return the step size from which ``model`` has an outlier: where
    :math:`\eta^2\sum_j\mathbb Ev_j^2/(q-h_j)=\psi_2` at the q of the edge.
    """
    return (model.psi2 / model.sum(bulk_edge(model))) ** 0.5


def spike(model: Spiked, eta: float) -> tuple:
    r"""Return the largest singular value of ``model`` and the squared overlap of its
    left vector with w after a step ``eta``, 0 to 1e12.

    Above the threshold :math:`\eta^2\sum_j\mathbb Ev_j^2/(q-h_j)=\psi_2` at a q beyond
    that of the edge, and

    .. math:: s_1^2=q\Bigl(\psi_2+\bar{\mathbb E}\frac h{q-h}\Bigr),\qquad
              \frac q{s_1^2}\,\frac{\bigl(\sum_jw_j\mathbb Ev_j/(q-h_j)\bigr)^2}
              {\sum_j\mathbb Ev_j^2/(q-h_j)^2}\Bigl(\psi_2-\bar{\mathbb
              E}\frac{h^2}{(q-h)^2}\Bigr).

    Below, the place is that of the edge and the overlap 0.

    Raises:
        ValueError: for another ``eta``.
    """
    strength = validate.number("eta", eta, 0, 1e12) ** 2 / model.psi2

    def excess(q):
        return strength * model.sum(q) - 1

    q = bulk_edge(model)
    seen = excess(q) > 0
    if seen:
        q = brentq(
            excess,
            q,
            model.h.max() + 2 * strength * model.square.sum(),
            xtol=1e-14,
            rtol=1e-14,
        )
    near = 1 / (q - model.h)
    place = q * (model.psi2 + np.mean(model.h * near))
    overlap = (model.along @ near) ** 2 / (model.square @ near**2) * model.bulk(q)
    return place**0.5, seen * q / place * overlap
