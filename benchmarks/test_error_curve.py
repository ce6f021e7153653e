"""Five points of a test-error curve: the solver of `fl` against a direct transcription
of the same equations.

    python benchmarks/test_error_curve.py [DRAWS]

The network has one tanh block, the link is the sine, the penalty 0.1, n/d runs from 0.2 to 3
at p = d, and the spike is that of a step of size 3 on 20 d samples (its isotropic part:
beta = 0). The transcription takes every average over kappa by adaptive quadrature of a
scalar function, at every sweep of a damped loop, and the spectrum of W0 from a sampled
matrix with d = 1000. It is run for DRAWS matrices (default 3), whose spread is its
sampling noise.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core: the bar is CPU time

import sys
import time
from dataclasses import replace

import numpy as np
from scipy.integrate import quad

from fl.tasks import LINKS
from fl.theory.spectrum_error import ReadOut
from fl.theory.spectrum_features import giant_step, normal_grid

SIN, TANH = LINKS["sin"], LINKS["tanh"]
ALPHAS, PENALTY, DELTA = [0.2, 0.5, 1.0, 2.0, 3.0], 0.1, 1.0
Z, W = np.polynomial.hermite_e.hermegauss(61)
W = W / W.sum()


def naive_error(
    alpha: float,
    r: float,
    c: float,
    gamma: float,
    omega: np.ndarray,
    tolerance: float = 1e-6,
) -> float:
    """Return the test error at one ``alpha``; ``omega`` (p,) are the eigenvalues of a
    sampled W0 W0'.
    """
    rho = np.sqrt(1 - gamma**2)

    def features(kappa):
        phi = np.tanh(r * kappa + c * Z)
        mu0, mu1 = W @ phi, W @ (Z * phi)
        return mu0, mu1, W @ phi**2 - mu0**2 - mu1**2

    def labels(kappa):
        g = np.sin(gamma * kappa + rho * Z)
        return W @ g, W @ (Z * g), W @ g**2

    V = nu = q1 = q2 = 0.5
    m = theta = psi = 0.1
    for _ in range(500):

        def mean(f, V=V, nu=nu):
            def integrand(kappa):
                mu0, mu1, mu2sq = features(kappa)
                D = 1 / (1 + mu1**2 * V + mu2sq * nu)
                return (
                    f(kappa, D, mu0, mu1, mu2sq, *labels(kappa))
                    * np.exp(-(kappa**2) / 2)
                    / np.sqrt(2 * np.pi)
                )

            return quad(integrand, -7, 7, epsabs=1e-8, epsrel=1e-8)[0]

        def error(
            kappa, mu0, mu1, mu2sq, h, h1, hh, m=m, theta=theta, psi=psi, q1=q1, q2=q2
        ):
            mean_part, rest = mu0 * m + kappa * mu1 * theta, mu1 * psi
            squared = hh - 2 * h * mean_part + mean_part**2 - 2 * h1 * rest + rest**2
            return squared + mu1**2 * q1 + mu2sq * q2

        V_hat = alpha * mean(lambda k, D, m0, m1, m2, *g: D * m1**2)
        nu_hat = alpha * mean(lambda k, D, m0, m1, m2, *g: D * m2)
        resolvent = 1 / (PENALTY + nu_hat + V_hat * omega)
        new_V, new_nu = np.mean(omega * resolvent), np.mean(resolvent)
        M = mean(lambda k, D, m0, m1, m2, *g: D * m0**2)
        new_m = (
            mean(
                lambda k, D, m0, m1, m2, h, *g, theta=theta: (
                    D * m0 * (h - k * m1 * theta)
                )
            )
            / M
        )
        theta_hat = alpha * mean(
            lambda k, D, m0, m1, m2, h, *g, m=m, theta=theta: (
                D * k * m1 * (h - m0 * m - k * m1 * theta)
            )
        )
        psi_hat = alpha * mean(
            lambda k, D, m0, m1, m2, h, h1, hh, psi=psi: D * m1 * (h1 - m1 * psi)
        )
        new_theta = DELTA * new_V * (theta_hat + V_hat * theta)
        new_psi = DELTA * new_V * (psi_hat + V_hat * psi)
        q1_hat = alpha * mean(
            lambda k, D, m0, m1, m2, *g: D**2 * m1**2 * error(k, m0, m1, m2, *g)
        )
        q2_hat = alpha * mean(
            lambda k, D, m0, m1, m2, *g: D**2 * m2 * error(k, m0, m1, m2, *g)
        )
        q2_hat += DELTA * (theta_hat**2 + psi_hat**2)
        source = (q2_hat + q1_hat * omega) * resolvent**2
        old = np.array([V, nu, m, theta, psi, q1, q2])
        new = 0.3 * old + 0.7 * np.array(
            [
                new_V,
                new_nu,
                new_m,
                new_theta,
                new_psi,
                np.mean(omega * source),
                np.mean(source),
            ]
        )
        V, nu, m, theta, psi, q1, q2 = new
        if np.abs(new - old).max() < tolerance * np.abs(new).max():
            break
    return mean(lambda k, D, m0, m1, m2, *g: error(k, m0, m1, m2, *g))


def sampled_spectrum(d: int, seed: int) -> np.ndarray:
    """Return the eigenvalues of W0 W0' for unit rows, p = d."""
    W0 = np.random.default_rng(seed).standard_normal((d, d))
    W0 /= np.linalg.norm(W0, axis=1, keepdims=True)
    return np.linalg.eigvalsh(W0 @ W0.T)


def main(draws: int) -> None:
    model = giant_step(SIN, TANH, 3.0, 20.0)
    model = replace(
        model, beta=0 * model.beta
    )  # the transcription is of the isotropic model
    times = []
    for _ in range(10):
        start = time.process_time()
        curve = ReadOut(SIN, TANH, model).error(PENALTY, ALPHAS, DELTA)
        times.append(time.process_time() - start)
    finest = ReadOut(SIN, TANH, model, grid=normal_grid(1281, 9.0))
    refined = finest.error(PENALTY, ALPHAS, DELTA)
    accuracy = np.abs(curve / refined - 1).max()
    print(
        f"fl: first call {times[0]:.4f} s, best of ten {min(times):.4f} s CPU; "
        f"{accuracy:.1e} from its refinement"
    )
    naive, naive_times = [], []
    for draw in range(draws):
        start = time.process_time()
        omega = sampled_spectrum(1000, draw)
        naive.append(
            [naive_error(a, model.r[0], model.c[0], model.gamma, omega) for a in ALPHAS]
        )
        naive_times.append(time.process_time() - start)
    naive = np.array(naive)
    spread = naive.std(axis=0, ddof=1)
    ratio = np.mean(naive_times) / times[0]
    print(
        f"transcription: {np.mean(naive_times):.1f} s CPU a curve, "
        f"{ratio:.0f} times the first call"
    )
    print("n/d    fl           transcription  its spread  difference in units of it")
    means = naive.mean(axis=0)
    for row in zip(ALPHAS, curve, means, spread, strict=True):
        a, ours, theirs, sd = row
        units = (ours - theirs) / (sd / np.sqrt(draws))
        print(f"{a:<6} {ours:.8f}   {theirs:.8f}     {sd:.1e}     {units:+.1f}")
    assert times[0] < 0.5 and accuracy < 1e-6
    assert np.all(np.abs(means - curve) < 5 * spread + 1e-5)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
