/* Moving figures: <div class="fl-figure" data-figure="NAME"></div> becomes a drawing with sliders.

   A figure names its sliders, its axes and a function that returns its curves. All values come from
   closed forms in this file; tests hold them against the package. No server and no network is needed.
   Where scripts are off, and on paper, the picture that stands before the figure is what is seen. */
"use strict";

const flFigures = {};

/* --- closed forms ------------------------------------------------------------------------------ */

/* A(p): squared correlation of the first feature with a linear teacher, n samples, noise of ratio snr.
   lam are the eigenvalues of the covariance, share the teacher's squared coordinates. */
function flEarlyAlignment(lam, share, p, n, snr) {
  const sum = (term) => lam.reduce((total, value, i) => total + term(value, share[i]), 0);
  const power = sum((value, b) => b * value);
  const signal = 1 - (n - 2) / (n * (n - 1)) + 2 / n;
  const noise = (power * (1 + 1 / snr ** 2)) / (n - 1);
  const overlap = sum((value, b) => b * value ** (p + 2));
  const energy = sum((value, b) => b * value ** (2 * p + 3));
  const trace = sum((value) => value ** (2 * p + 2));
  return (signal * overlap ** 2 + noise * energy) / (power * (signal * energy + noise * trace));
}

/* When a mode of strength s has reached which share of itself, in a linear net of some depth whose
   layers start at the singular value start: t is the integral of (w^(L-1) (s - w^L))^-q, by the
   midpoint rule in log w. */
function flLearning(s, q, depth, start) {
  const path = { time: [0], share: [start ** depth / s] };
  const [low, high, steps] = [Math.log(start), Math.log(0.995 * s) / depth, 600];
  for (let k = 0, time = 0; k < steps; k++) {
    const w = Math.exp(low + ((high - low) * (k + 0.5)) / steps);
    const pull = w ** (depth - 1) * (s - w ** depth);
    time += (pull ** -q * w * (high - low)) / steps;
    path.time.push(time);
    path.share.push(Math.exp(depth * (low + ((high - low) * (k + 1)) / steps)) / s);
  }
  return path;
}

/* Where a falling function passes a level. */
function flRoot(falling, level, low, high) {
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (falling(middle) > level) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/* Where a function is largest, on a grid that is refined around its top. */
function flTop(f, low, high) {
  for (let round = 0; round < 5; round++) {
    const step = (high - low) / 40;
    const grid = Array.from({ length: 41 }, (_, k) => low + k * step);
    const top = grid.reduce((best, at) => (f(at) > f(best) ? at : best));
    [low, high] = [Math.max(low, top - step), Math.min(high, top + step)];
  }
  return (low + high) / 2;
}

/* Squared cosine of the first step with a linear teacher. lam are levels of equal weight, share the teacher's
   squared coordinates on them, gamma the inputs a sample, rho the label noise. kfac inverts the covariance of
   the step's own batch plus a damping; gradient does not. */
function flFirstStep(lam, share, gamma, rho) {
  const sum = (term) => lam.reduce((total, s, j) => total + term(s, share[j]), 0);
  const mean = (term) => sum(term) / lam.length;
  const signal = sum((s, b) => b * s);
  return {
    gradient: signal ** 2 / (sum((s, b) => b * s ** 2) + gamma * (rho + signal) * mean((s) => s)),
    kfac(damping) {
      const ratio = (kappa) => damping / kappa + gamma * mean((s) => s / (s + kappa));
      const kappa = flRoot(ratio, 1, damping, damping + gamma * mean((s) => s));
      const kept = (s) => s / (s + kappa);
      const spread = (gamma * mean((s) => kept(s) / (s + kappa))) / (1 - gamma * mean((s) => kept(s) ** 2));
      const missed = kappa ** 2 * sum((s, b) => (b * kept(s)) / (s + kappa));
      return sum((s, b) => b * kept(s)) ** 2 / (sum((s, b) => b * kept(s) ** 2) + spread * (rho + missed));
    },
  };
}

/* One step with the p-th power of the covariance: erf student, erf(3z) teacher, three samples and one
   neuron for each dimension, ridge penalty 0.03. lam are levels of equal weight, of mean 1, and energy
   the teacher's share in each. Functions of the step size: place and overlap of the spike, and the risk. */
function flOneStep(lam, energy, p, noise) {
  const [mu1, mu1s, psi1, penalty] = [2 / Math.sqrt(3 * Math.PI), 6 / Math.sqrt(19 * Math.PI), 3, 0.03];
  const rest = (2 / Math.PI) * Math.asin(2 / 3) - mu1 ** 2;
  const left = (2 / Math.PI) * Math.asin(18 / 19) - mu1s ** 2 + noise;
  const sum = (term) => lam.reduce((total, value, j) => total + term(value, energy[j], j), 0);
  const mean = (term) => sum(term) / lam.length;
  const sampling = (mu1s ** 2 + left) / psi1 / lam.length;
  const square = lam.map((v, j) => (mu1 * v ** p) ** 2 * v * (mu1s ** 2 * energy[j] + sampling));
  const along = lam.map((v, j) => mu1 * mu1s * v ** p * energy[j]);
  const size = sum((v, e, j) => square[j]);
  const aligned = sum((v, e, j) => along[j]) ** 2 / size / sum((v, e) => e / v);
  /* the resolvent of the features' weights at s, and what the risk needs of it */
  const resolvent = (s) => {
    const q = (v, e) => 1 / (s + v / (1 + e));
    const e = flRoot((e) => mean((v) => v * q(v, e)) - e, 0, 0, 2 / s);
    const of = (term) => sum((v, share, j) => term(v, share, j) * q(v, e));
    return {
      trace: mean((v) => q(v, e)), bottom: 1 + e, teacher: of((v, share) => share),
      cross: of((v, share, j) => v * along[j]), square: of((v, share, j) => v * square[j]),
    };
  };
  const slope = (f, s) => (f(s * 1.001) - f(s * 0.999)) / (0.002 * s);
  const trace = (s) => resolvent(s).trace;
  const at = (kappa) => (rest + kappa) / mu1 ** 2;
  const shown = (kappa) => kappa * (1 - (1 - (kappa / mu1 ** 2) * trace(at(kappa))) / psi1);
  const kappa = Math.exp(flRoot((log) => -shown(Math.exp(log)), -penalty, Math.log(penalty) - 1, 3));
  const [s, ratio] = [at(kappa), kappa / mu1 ** 2];
  const gamma = (1 - 2 * ratio * trace(s) - ratio ** 2 * slope(trace, s)) / psi1;
  const [low, middle, high] = [0.999, 1, 1.001].map((k) => resolvent(k * s));
  const form = (eta, r) => r.teacher - (eta * r.cross) ** 2 / (r.bottom + eta ** 2 * r.square);
  return {
    threshold: 1 / Math.sqrt(size),
    aligned,
    place: (eta) => (eta ** 2 * size > 1 ? eta * Math.sqrt(size) + 1 / (eta * Math.sqrt(size)) : 2),
    overlap: (eta) => (eta ** 2 * size > 1 ? aligned * (1 - 1 / (eta ** 2 * size)) : 0),
    risk(eta) {
      const change = (form(eta, high) - form(eta, low)) / (0.002 * s);
      const missed = (mu1s / mu1) ** 2 * (rest * form(eta, middle) - kappa * s * change);
      return (left + missed) / (1 - gamma) - noise;
    },
  };
}

/* Deviance above its minimum at exponents p, for the expected scores of n rows and d columns with
   eigenvalues 1/r, a teacher of the exponent truth and a signal of variance 1 under so much noise: smallest
   over the multiplier delta, on a grid of its logarithm that is refined. The drop is from no signal. */
function flEvidence(truth, noise, d, n) {
  const logs = Array.from({ length: d }, (_, r) => -Math.log(r + 1));
  const mean = logs.reduce((a, b) => a + b) / d;
  const size = logs.map((l) => Math.exp((truth + 1) * (l - mean)));
  const total = size.reduce((a, b) => a + b);
  const scores = size.map((t) => 1 + (n * t) / (total * noise));
  const dof = n - 1;
  const deviance = (powers, delta) => {
    let [left, bend] = [dof - d, 0];
    powers.forEach((t, r) => {
      left += scores[r] / (1 + delta * t);
      bend += Math.log(1 + delta * t);
    });
    return dof * Math.log(left / dof) + bend;
  };
  const nothing = deviance(logs, 0);
  const lowest = (p) => {
    const rise = logs.map((l) => (p + 1) * (l - mean));
    const powers = rise.map(Math.exp);
    let [low, high, best] = [-8 - Math.max(...rise), 8 - Math.min(...rise), 0];
    for (const points of [33, 9, 9, 9, 9, 9]) {
      const grid = Array.from({ length: points }, (_, k) => low + ((high - low) * k) / (points - 1));
      const values = grid.map((g) => deviance(powers, Math.exp(g)));
      best = Math.min(...values);
      const k = values.indexOf(best);
      [low, high] = [grid[Math.max(k - 1, 0)], grid[Math.min(k + 1, points - 1)]];
    }
    return Math.min(best, nothing);
  };
  const p = Array.from({ length: 81 }, (_, k) => -2 + k / 20);
  const values = p.map(lowest);
  const least = Math.min(...values);
  return { p, rise: values.map((v) => v - least), drop: nothing - least };
}

/* y at a point of the curve through (x, y), x rising; constant beyond the ends. */
function flBetween(x, y, at) {
  const k = x.findIndex((value) => value >= at);
  if (k <= 0) return y[k === 0 ? 0 : y.length - 1];
  return y[k - 1] + ((y[k] - y[k - 1]) * (at - x[k - 1])) / (x[k] - x[k - 1]);
}

/* The neurons of one network of flCollapse (collapse.js) for the reader's exponent q: logarithms of
   w' Sigma^-q w and of the squared readout, both less their means, and the misfit 1 - R^2. The data
   are 100 times the logarithms of squared coordinates, eigenvalues and readouts. */
function flNeurons(net, q) {
  const centred = (values) => {
    const mean = values.reduce((a, b) => a + b) / values.length;
    return values.map((value) => value - mean);
  };
  const mean = (values) => values.reduce((sum, value) => sum + value ** 2, 0) / values.length;
  const size = (row) => Math.log(row.reduce((sum, c, k) => sum + Math.exp((c - q * net.lam[k]) / 100), 0));
  const x = centred(net.squares.map(size));
  const y = centred(net.readout.map((value) => value / 100));
  return { x, y, misfit: mean(x.map((value, j) => value - y[j])) / mean(y) };
}

/* Gamma function for x > 0: Stirling's series beyond 12. */
function flGamma(x) {
  let product = 1;
  for (; x < 12; x++) product *= x;
  const series = 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5);
  return (Math.sqrt((2 * Math.PI) / x) * (x / Math.E) ** x * Math.exp(series)) / product;
}

/* log10 of the samples N at which the two laws joined give a level of the risk at log10 T = at:
   speeds r^-q, energies r^-b. No number where time alone does not suffice. */
function flContour(q, b, level, at) {
  const s = (b - 1) / q;
  const early = (flGamma(s) / q) * (4 * 10 ** at) ** -s;
  const angle = Math.PI / q;
  const constant = (((1 - s) * Math.PI) / Math.sin(Math.PI * s)) * (angle / Math.sin(angle)) ** (b - 1);
  return Math.log10(constant / Math.sqrt(level ** 2 - early ** 2)) / (b - 1);
}

/* --- figures ----------------------------------------------------------------------------------- */

flFigures.alignment = {
  label: "Squared correlation of the first feature with the teacher, against the exponent p",
  sliders: [
    { name: "strong", text: "teacher on the strong direction (share of its energy)", min: 0, max: 1, step: 0.05, value: 0.5 },
    { name: "snr", text: "signal-to-noise ratio of the labels", min: 0.2, max: 5, step: 0.1, value: 1 },
    { name: "n", text: "training samples", min: 10, max: 1000, step: 10, value: 200 },
  ],
  x: { from: -2, to: 2, text: "exponent p of the preconditioner Σ^p" },
  y: { from: 0, to: 1, text: "A(p)" },
  curves({ strong, snr, n }) {
    const lam = [6, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25];
    /* energy of a direction is its share times its eigenvalue */
    const raw = [strong / lam[0], (1 - strong) / lam[1], 0, 0, 0, 0, 0];
    return [{ text: "A(p)", at: (p) => flEarlyAlignment(lam, raw, p, n, snr) }];
  },
  say(curves) {
    let best = -2;
    for (let p = -2; p <= 2.001; p += 0.01) if (curves[0].at(p) > curves[0].at(best)) best = p;
    return `best exponent p = ${best.toFixed(2)}: A = ${curves[0].at(best).toFixed(3)}; ` +
      `plain descent (p = 0): A = ${curves[0].at(0).toFixed(3)}`;
  },
};

flFigures.flip = {
  label: "Share of five modes that a deep linear net has learned, against time",
  sliders: [
    { name: "q", text: "power q of the singular values (1 gradient, 0 Muon)", min: -0.33, max: 1, step: 0.01, value: 0.33 },
    { name: "depth", text: "layers L", min: 1, max: 3, step: 1, value: 2 },
  ],
  x: { from: 0, to: 3, text: "time, 1 when the middle mode is half learned" },
  y: { from: 0, to: 1, text: "share" },
  curves({ q, depth }) {
    const modes = [8, 4, 2, 1, 0.5];
    const paths = modes.map((s) => flLearning(s, q, depth, 0.02));
    const half = paths.map(({ time, share }) => flBetween(share, time, 0.5));
    return modes.map((s, i) => ({
      text: `s = ${s}`,
      half: half[i] / half[2],
      at: (t) => flBetween(paths[i].time, paths[i].share, t * half[2]),
    }));
  },
  say(curves) {
    const lead = Math.log(curves[0].half / curves[4].half) / Math.log(16);
    const words = Math.abs(lead) < 0.05 ? "all modes come at one time" : lead < 0 ? "strong modes come first" : "weak modes come first";
    return `time to one half goes like s to the power ${lead.toFixed(2)}: ${words}`;
  },
};

flFigures.collapse = {
  label: "Neurons of a network on the digits: squared readout against size of the weights in a metric",
  sliders: [
    { name: "p", text: "exponent p in training", min: -1, max: 1, step: 0.5, value: -0.5 },
    { name: "q", text: "exponent q of the reader", min: -2, max: 2, step: 0.05, value: 1 },
  ],
  x: { from: -4, to: 4, text: "log size of the weights in the metric Σ^q, less its mean" },
  y: { from: -4, to: 4, text: "log squared readout, less its mean" },
  curves({ p, q }) {
    const net = flCollapse[p.toFixed(1)];
    const { x, y, misfit } = flNeurons(net, q);
    return [{ net, q, misfit, dots: x.map((value, j) => [value, y[j]]) }, { text: "", at: (value) => value }];
  },
  say([{ net, q, misfit }]) {
    let best = -2;
    for (let at = -2; at < 2.001; at += 0.01) if (flNeurons(net, at).misfit < flNeurons(net, best).misfit) best = at;
    return `q = ${q.toFixed(2)}: 1 - R² = ${misfit.toExponential(0)}; smallest at q = ${best.toFixed(2)}`;
  },
};

flFigures.scaling = {
  label: "Levels of the risk in the plane of training time and samples, a path through it, and a budget",
  sliders: [
    { name: "p", text: "exponent p of the preconditioner Σ^p", min: -0.2, max: 1, step: 0.05, value: 0.5 },
    { name: "zeta", text: "path of the study: T = N^ζ", min: 0.25, max: 4, step: 0.25, value: 1 },
  ],
  x: { from: 0, to: 8, text: "lg T, the time (upwards: lg N, the samples; base ten)" },
  y: { from: 1, to: 5, text: "lg N" },
  curves({ p, zeta }) {
    const [a, b] = [1.5, 1.8];
    const q = a * (p + 1);
    const inside = (y) => (y < 1 || y > 5 ? NaN : y);
    /* from the top edge down: the first step at which time suffices is nearly upright */
    const contour = (level) => (x) => {
      const y = flContour(q, b, level, x);
      return Number.isNaN(y) && !Number.isNaN(flContour(q, b, level, x + 0.04)) ? 5 : y;
    };
    const levels = [0.2, 0.05, 0.0125].map((level) => ({ text: `R = ${level}`, level, at: contour(level) }));
    const path = { text: "path", alpha: (b - 1) * Math.min(1, zeta / q), at: (x) => inside(x / zeta) };
    path.plain = (b - 1) * Math.min(1, zeta / a);
    const budget = { text: "budget", alpha: (b - 1) / (1 + q), at: (x) => inside(6 - x) };
    return [...levels, path, budget];
  },
  say(curves) {
    const [path, budget] = [curves[3], curves[4]];
    const words = Math.abs(path.alpha - path.plain) < 1e-9 ? "the exponents agree" : "the exponents differ";
    return `along the path the risk falls like N to the power −${path.alpha.toFixed(2)}, for plain descent ` +
      `−${path.plain.toFixed(2)}: ${words}; with a budget split best, like its power −${budget.alpha.toFixed(2)}`;
  },
};

flFigures.unified = {
  label: "Spike, overlap with the teacher, and test risk after one preconditioned step, against the step size",
  sliders: [
    { name: "p", text: "exponent p of the preconditioner Σ^p", min: -1, max: 1, step: 0.05, value: 0 },
    { name: "ratio", text: "spectrum: strong over weak level", min: 1, max: 20, step: 0.5, value: 9 },
    { name: "strong", text: "teacher: share of its energy on the strong level", min: 0, max: 1, step: 0.05, value: 0.5 },
    { name: "noise", text: "variance of the label noise", min: 0, max: 2, step: 0.05, value: 0.1 },
  ],
  x: { from: 0, to: 5, text: "step size η" },
  y: { from: 0, to: 1.2, text: "ratio, or squared cosine" },
  step: ({ p, ratio, strong, noise }) =>
    flOneStep([2 * ratio, 2].map((level) => level / (1 + ratio)), [strong, 1 - strong], p, noise),
  curves(values) {
    const step = this.step(values);
    const base = step.risk(0);
    return [
      { text: "spike over the edge, less 1", at: (eta) => Math.min(step.place(eta) / 2 - 1, 1.2), step },
      { text: "overlap with the teacher", at: step.overlap },
      { text: "risk over that without a step", at: (eta) => step.risk(eta) / base },
    ];
  },
  say([{ step }, , risk]) {
    return `the spike is visible from η = ${step.threshold.toFixed(2)}; its direction has the squared cosine ` +
      `${step.aligned.toFixed(2)} with the teacher; at η = 3 the step saves ${(100 * (1 - risk.at(3))).toFixed(0)} % of the risk`;
  },
};

flFigures.damping = {
  label: "Squared cosine of the first step with the teacher, against the damping, for three optimizers",
  sliders: [
    { name: "gamma", text: "inputs per sample, d/n", min: 0.1, max: 3, step: 0.1, value: 0.5 },
    { name: "ratio", text: "spectrum: strong over weak level", min: 1, max: 20, step: 0.5, value: 9 },
    { name: "r", text: "teacher: r, squared coordinates like s^r", min: -1, max: 1, step: 0.1, value: 0 },
    { name: "rho", text: "variance ρ of the label noise", min: 0.05, max: 2, step: 0.05, value: 0.25 },
  ],
  x: { from: -3, to: 1, text: "lg of the damping (base ten)" },
  y: { from: 0, to: 1, text: "squared cosine with the teacher" },
  curves({ gamma, ratio, r, rho }) {
    const lam = [2 * ratio, 2].map((level) => level / (1 + ratio));
    const raw = lam.map((s) => s ** r);
    const { gradient, kfac } = flFirstStep(lam, raw.map((b) => b / (raw[0] + raw[1])), gamma, rho);
    const at = (x) => kfac(10 ** x);
    const best = flTop(at, -3, 1);
    /* the damping hidden in the natural gradient of ReLU is d/n times the mean level, which is 1 */
    const natural = (x) => kfac(gamma + 10 ** x);
    return [
      { text: "K-FAC", at, best, even: gamma * rho },
      { text: "natural gradient", at: natural, bare: kfac(gamma) },
      { text: "gradient", at: () => gradient },
      { text: "", mark: true, dots: [[best, 0], [best, at(best)]] },
    ];
  },
  say([own, natural, plain]) {
    return `best damping of K-FAC ${(10 ** own.best).toFixed(3)} (ρ times d/n: ${own.even.toFixed(3)}): squared cosine ` +
      `${own.at(own.best).toFixed(3)}; natural gradient, nothing added: ${natural.bare.toFixed(3)}; ` +
      `gradient: ${plain.at(0).toFixed(3)}`;
  },
};

flFigures.evidence = {
  label: "Deviance of the exponent above its minimum, for expected scores",
  sliders: [
    { name: "truth", text: "exponent p of the teacher", min: -1, max: 1.5, step: 0.1, value: 0.3 },
    { name: "noise", text: "noise (variance, that of the signal is 1)", min: 0.1, max: 10, step: 0.1, value: 1 },
    { name: "d", text: "columns d, at 300 rows", min: 4, max: 80, step: 1, value: 60 },
  ],
  x: { from: -2, to: 2, text: "exponent p" },
  y: { from: 0, to: 20, text: "deviance above its minimum" },
  curves({ truth, noise, d }) {
    const found = flEvidence(truth, noise, d, 300);
    return [
      { text: "", found, at: (p) => flBetween(found.p, found.rise, p) },
      { text: "95 %", at: () => 3.841458820694124 },
    ];
  },
  say([{ found }]) {
    const inside = found.p.map((_, k) => k).filter((k) => found.rise[k] <= 3.841458820694124);
    const [first, last] = [inside[0], inside[inside.length - 1]];
    // the root of a parabola is a line
    const cross = (k, side) => {
      const [a, b, level] = [found.rise[k], found.rise[k + side], 3.841458820694124].map(Math.sqrt);
      return k + side in found.rise ? found.p[k] + (side * 0.05 * (level - a)) / (b - a) : found.p[k];
    };
    const [low, high] = [cross(first, -1), cross(last, 1)];
    const interval = `interval ${low.toFixed(2)} to ${high.toFixed(2)}, signal ${found.drop.toFixed(1)}`;
    return found.drop >= 7 && high - low < 1.5 ? `told: ${interval}` : `cannot tell, keep p = 0: ${interval}`;
  },
};

/* --- the widget -------------------------------------------------------------------------------- */

const flColours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"];
const flInks = ["#0072B2", "#B34700", "#00785A", "#A3527F", "#2A7FB0"]; // of the names: dark enough to be read
const flDashes = ["", "7 3", "2 3", "9 3 2 3", "4 2"];

function flElement(name, attributes, text) {
  const svg = ["svg", "g", "path", "line", "text", "tspan"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) flWrite(made, svg && name === "text", String(text));
  return made;
}

/* Write a text; the sign after ^ is an exponent. */
function flWrite(made, drawn, text) {
  text.split(/\^(.)/).forEach((part, i) => {
    if (drawn && text.includes("^")) {
      const raised = i % 2 ? { dy: -5, "font-size": "0.75em" } : { dy: i && 5 };
      made.append(flElement("tspan", raised, part));
    } else made.append(i % 2 ? flElement("sup", {}, part) : part);
  });
}

/* The right end of the base line of a name beside its curve: above the curve's end, or else above or below another
   part of it, where the name, in letters as large as on a phone, lies on nothing that is taken. */
function flPlace(text, points, taken, frame) {
  const width = 11 * text.length;
  const first = [points.at(-1)[0] - 4, Math.max(points.at(-1)[1] - 5, frame.top + 16)];
  const free = ([right, base]) =>
    right - width >= frame.left && base - 15 >= frame.top && base + 5 <= frame.bottom &&
    !taken.some(([a, b]) => a > right - width - 2 && a < right + 2 && b > base - 16 && b < base + 6);
  const places = [first];
  for (let k = points.length - 1; k >= 0; k -= 5) {
    const right = points[k][0] - 4;
    const heights = points.filter(([a]) => a >= right - width && a <= right).map(([, b]) => b);
    places.push([right, Math.min(...heights) - 8], [right, Math.max(...heights) + 19]);
  }
  return places.find(free) || first;
}

function flDraw(figure, values) {
  const [width, height, left, right, top, bottom] = [640, 320, 60, 12, 32, 46];
  const scale = (axis, from, to) => (v) => from + ((v - axis.from) / (axis.to - axis.from)) * (to - from);
  const x = scale(figure.x, left, width - right);
  const y = scale(figure.y, height - bottom, top);
  const svg = flElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": figure.label });
  for (let k = 0; k <= 4; k++) {
    const vx = figure.x.from + ((figure.x.to - figure.x.from) * k) / 4;
    const vy = figure.y.from + ((figure.y.to - figure.y.from) * k) / 4;
    svg.append(flElement("line", { x1: x(vx), x2: x(vx), y1: top, y2: height - bottom, class: "fl-grid" }));
    svg.append(flElement("line", { x1: left, x2: width - right, y1: y(vy), y2: y(vy), class: "fl-grid" }));
    svg.append(flElement("text", { x: x(vx), y: height - bottom + 18, "text-anchor": "middle" }, +vx.toFixed(2)));
    svg.append(flElement("text", { x: left - 8, y: y(vy) + 4, "text-anchor": "end" }, +vy.toFixed(2)));
  }
  svg.append(flElement("text", { x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, figure.x.text));
  svg.append(flElement("text", { x: left, y: top - 11, class: "fl-axis" }, figure.y.text));
  const curves = figure.curves(values);
  const inside = (axis, value) => Math.min(Math.max(value, axis.from), axis.to);
  const place = ([a, b]) => [x(inside(figure.x, a)), y(inside(figure.y, b))];
  const steps = Array.from({ length: 201 }, (_, k) => figure.x.from + ((figure.x.to - figure.x.from) * k) / 200);
  /* a curve ends where it leaves the frame */
  const seen = ([, b]) => b >= figure.y.from - 1e-9 && b <= figure.y.to + 1e-9;
  const lines = curves.map((curve) => (curve.dots || steps.map((at) => [at, curve.at(at)]).filter(seen)).map(place));
  const drawn = lines.map((points) => points.map((point) => point.map((v) => v.toFixed(1)).join(" ")));
  curves.forEach((curve, i) => {
    const stroke = flColours[i];
    /* a dash would leave nothing of a dot */
    if (curve.mark) svg.append(flElement("path", { d: "M" + drawn[i].join("L"), class: "fl-drop" }));
    if (curve.mark) svg.append(flElement("path", { d: `M${drawn[i].at(-1)}h0`, class: "fl-dots fl-mark" }));
    else if (curve.dots) svg.append(flElement("path", { d: drawn[i].map((dot) => `M${dot}h0`).join(""), stroke, class: "fl-dots" }));
    else {
      const d = drawn[i].length ? "M" + drawn[i].join("L") : "";
      svg.append(flElement("path", { d, stroke, "stroke-dasharray": flDashes[i], class: "fl-curve" }));
    }
  });
  const taken = lines.flat();
  for (const [[a, from], [, to]] of lines.filter((_, i) => curves[i].mark)) for (let k = 0; k <= 40; k++) taken.push([a, from + ((to - from) * k) / 40]);
  curves.forEach((curve, i) => {
    if (curve.dots || !curve.text || curves.length < 2 || !lines[i].length) return;
    const [endX, endY] = flPlace(curve.text, lines[i], taken, { left, top, bottom: height - bottom });
    const width = 11 * curve.text.length + 8;
    for (let across = 0; across <= width; across += 4) for (const up of [0, 8, 16]) taken.push([endX - across, endY - up]);
    svg.append(flElement("text", { x: endX, y: endY, "text-anchor": "end", fill: flInks[i], class: "fl-word" }, curve.text));
  });
  return [svg, figure.say ? figure.say(curves) : ""];
}

function flStart(place) {
  const figure = flFigures[place.dataset.figure];
  if (!figure) return;
  const values = Object.fromEntries(figure.sliders.map((slider) => [slider.name, slider.value]));
  const picture = flElement("div", { class: "fl-picture" });
  const said = flElement("p", { class: "fl-said", "aria-live": "polite" });
  const controls = flElement("div", { class: "fl-controls" });
  const refresh = () => {
    const [svg, words] = flDraw(figure, values);
    picture.replaceChildren(svg);
    said.textContent = words;
  };
  for (const slider of figure.sliders) {
    const id = `fl-${place.dataset.figure}-${slider.name}`;
    const { min, max, step, value } = slider;
    const input = flElement("input", { type: "range", id, min, max, step, value });
    const shown = flElement("output", { for: id }, value);
    input.addEventListener("input", () => {
      values[slider.name] = Number(input.value);
      shown.textContent = input.value;
      refresh();
    });
    const row = flElement("div", { class: "fl-slider" });
    row.append(flElement("label", { for: id }, slider.text), input, shown);
    controls.append(row);
  }
  refresh();
  place.replaceChildren(picture, controls, said);
  place.classList.add("fl-live");
}

if (typeof document !== "undefined")
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".fl-figure").forEach(flStart));
