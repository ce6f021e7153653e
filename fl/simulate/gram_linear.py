r"""Whitening experiments: which data the whitening matrix is made of, and where the
first layer starts.

The linear model is trained from :math:`w = 0`, the network is one of
`fl.simulate.gram`. ``X`` is (d, N), test inputs are (d, M); the whitening matrix is the
pseudo-inverse of an uncentred second moment.
"""

import numpy as np

from fl import datasets, numerics, tasks, validate
from fl.simulate import gram


def linear_descent(X, y, P, rate: float, steps) -> np.ndarray:
    """Return the weights of a linear model after ``steps`` (a rising list) steps of
    preconditioned descent from 0.

    ``P`` is (d, d) or a stack (n, d, d) with ``rate`` a number or (n,); the result is
    (len(steps), d) or (len(steps), n, d). The loss is the mean square.
    """
    X = validate.array("X", X, ("d", "N"))
    y = validate.array("y", y, (X.shape[1],))
    steps = [validate.count("steps entry", s, minimum=0) for s in steps]
    A = (
        -2 * np.asarray(rate)[..., None, None] * np.asarray(P) / len(y)
    )  # the step is A (gradient of the sum)/2
    w, path = np.zeros(np.shape(P)[:-1]), []
    for t in range(max(steps) + 1):
        if t in steps:
            path.append(w.copy())
        w = w + (A @ (((w @ X) - y) @ X.T)[..., None])[..., 0]
    return np.array(path)


def descend(X, y, P) -> tuple[np.ndarray, int]:
    """Return the end (d,) of preconditioned descent from 0 and its number of steps, for
    linearly independent inputs.

    The rate is the best constant one; the run stops when its distance to the limit is
    bounded by 1e-12 of the limit.
    """
    values = np.linalg.eigvalsh(X.T @ P @ X)
    steps = (
        int(np.ceil(14 * values[-1] / values[0])) + 1
    )  # each step shrinks errors by (k - 1)/(k + 1)
    return linear_descent(X, y, P, X.shape[1] / (values[0] + values[-1]), [steps])[
        0
    ], steps


def whitening(*inputs) -> np.ndarray:
    """Return the pseudo-inverse of the second moment of all columns of all ``inputs``
    (d, .) together, (d, d).
    """
    X = np.hstack(inputs)
    return numerics.psd_power(X @ X.T / X.shape[1], -1)


def linear_chance(source: str, over: str, N: int, M: int, d: int, seed: int) -> dict:
    r"""Return the ``risk`` :math:`|f-y|^2/|y|^2` of a whitened linear model on the test
    set (predicting 0 has 1).

    Args:
        source: ``power law`` (eigenvalues 1/r, linear teacher) or ``digits`` (zeros
            against ones, labels -1 and 1).
        over: whitening from ``train`` or ``train+test`` inputs, or with the
            ``population`` covariance (power law only).
        N: number of training inputs.
        M: number of test inputs.
        d: dimension, 64 for the digits.
        seed: of the draw.
    """
    known = ["train", "train+test"] + ["population"] * (source == "power law")
    validate.choice("over", over, known)
    rng = np.random.default_rng([seed, N, M, d])
    if validate.choice("source", source, ["power law", "digits"]) == "digits":
        images = datasets.load("digits")
        chosen = rng.choice(np.flatnonzero(images.labels < 2), N + M, replace=False)
        X, y = images.X[:, chosen], 2.0 * images.labels[chosen] - 1
    else:
        spectrum = tasks.power_law(d, 1.0)
        X, y, _ = tasks.Task(spectrum, tasks.Teacher(rng.standard_normal(d))).sample(
            N + M, rng
        )
    P = (
        spectrum.power(-1)
        if over == "population"
        else whitening(X[:, :N] if over == "train" else X)
    )
    w, _ = descend(X[:, :N], y[:N], P)
    return {"risk": float(((w @ X[:, N:] - y[N:]) ** 2).sum() / (y[N:] ** 2).sum())}


def network_chance(
    start: str,
    seeds: int,
    N: int = 30,
    M: int = 50,
    d: int = 100,
    h: int = 300,
    steps: int = 120,
    rate: float = 0.05,
) -> dict:
    r"""Return test outputs and labels of whitened tanh networks, whitening over
    train+test, without biases.

    Labels are a linear teacher of variance 1, stronger along directions of larger
    variance, plus 0.7. ``start`` is ``P-isotropic`` or ``isotropic``; both give
    pre-activations of mean square about 1 over the inputs.

    Returns:
        ``outputs`` (seeds, M), ``labels`` (seeds, M); at the end of training the
        training ``loss`` (seeds,) and ``moved`` (seeds,), the largest change of a
        first-layer test pre-activation.
    """
    validate.choice("start", start, ["P-isotropic", "isotropic"])
    results = {"outputs": [], "labels": [], "loss": [], "moved": []}
    spectrum = tasks.power_law(d, 1.0)
    for seed in range(validate.count("seeds", seeds)):
        rng = np.random.default_rng([seed, N, M, d, h])
        beta = np.sqrt(spectrum.eigenvalues) * rng.standard_normal(d)
        beta /= np.sqrt(beta @ spectrum.power(1) @ beta)
        X, y, _ = tasks.Task(spectrum, tasks.Teacher(beta)).sample(N + M, rng)
        y, P = y + 0.7, whitening(X)
        shape = (
            P / (N + M)
            if start == "P-isotropic"
            else np.eye(d) / spectrum.eigenvalues.sum()
        )
        W0, theta0 = gram.first_layer(rng, h, shape), gram.later_layers(rng, [h, 1])
        run = gram.train(
            X[:, :N],
            y[:N],
            W0,
            theta0,
            P,
            x=X[:, N:],
            steps=steps,
            rate=rate,
            train_biases=False,
            every=steps,
        )
        results["outputs"].append(run.test_outputs[0])
        results["labels"].append(y[N:])
        results["loss"].append(run.loss[-1])
        results["moved"].append(np.abs(run.z[-1] - run.z[0]).max())
    return {name: np.array(values) for name, values in results.items()}


def limits(of: str, powers: tuple[float, ...], N: int, d: int, seed: int) -> dict:
    r"""Return where preconditioned descent on a linear model ends, for each power ``p``
    of a covariance.

    Inputs are Gaussian with eigenvalues :math:`r^{-1/2}`; labels are a linear teacher
    plus noise of a third of its variance. Each run takes the best constant rate and
    stops when theory bounds its distance to the limit by 1e-12.

    Args:
        of: ``training`` (:math:`P = \hat\Sigma^p`) or ``population`` (:math:`P =
            \Sigma^p`).
        powers: the exponents.
        N: number of samples.
        d: dimension, at least N.
        seed: of the draw.

    Returns:
        ``X`` (d, N), ``y`` (N,), ``steps`` (powers,) and the weights at the end ``w``
        (powers, d).
    """
    rng = np.random.default_rng([seed, N, d])
    spectrum = tasks.power_law(d, 0.5)
    X, y, _ = tasks.Task(
        spectrum, tasks.Teacher(rng.standard_normal(d)), snr=3**0.5
    ).sample(N, rng)
    shape = (
        X @ X.T / N
        if validate.choice("of", of, ["training", "population"]) == "training"
        else spectrum.power(1)
    )
    ends, steps = zip(
        *[descend(X, y, numerics.psd_power(shape, p)) for p in powers], strict=True
    )
    return {"X": X, "y": y, "steps": np.array(steps), "w": np.array(ends)}
