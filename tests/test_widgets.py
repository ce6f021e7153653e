"""The formulas behind the moving figures are those of the package: asked in a real browser."""

import html
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fl.instruments.exponent_reader import read_balance
from fl.tasks import Spectrum, Task, Teacher, two_level
from fl.theory import choosing_p
from fl.theory import single_index_network as network
from fl.theory.alignment import early_alignment
from fl.theory.scaling_laws import exponent, two_laws
from fl.theory.single_index import population_power
from fl.theory.single_index_batch import best_damping, kfac
from fl.theory.spectral_updates_order import learning_time
from fl.theory.spikes import pair
from fl.theory.unified import Problem
from fl.theory.unified_risk import risk
from fl.theory.unified_spike import spike, spiked, threshold

ROOT = Path(__file__).resolve().parent.parent
WIDGETS = ROOT / "book" / "_static" / "widgets.js"
NEURONS = WIDGETS.with_name("collapse.js")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def page(tmp_path, body: str) -> str:
    """Return the page that a browser makes of ``body``, scripts run."""
    file = tmp_path / "page.html"
    files = (f'<script src="{file.as_uri()}"></script>' for file in (WIDGETS, NEURONS))
    script = "".join(files)
    file.write_text(
        f"<!doctype html><meta charset=utf-8><body>{script}{body}</body>", "utf-8"
    )
    run = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    run += ["--virtual-time-budget=2000", file.as_uri()]
    return subprocess.run(run, capture_output=True, encoding="utf-8", check=True).stdout


def asked(tmp_path, expression: str):
    """Return the value of a JavaScript expression."""
    body = f'<pre id="x"></pre><script>x.textContent = JSON.stringify({expression})</script>'
    found = re.search(r'<pre id="x">(.*?)</pre>', page(tmp_path, body), re.S)[1]
    return json.loads(html.unescape(found))


MOVED = """((name, values) => {
  const place = document.createElement("div");
  place.dataset.figure = name;
  flStart(place);
  for (const [key, value] of Object.entries(values)) {
    const input = place.querySelector(`#fl-${name}-${key}`);
    input.value = value;
    input.dispatchEvent(new Event("input"));
  }
  return place.querySelector(".fl-said").textContent;
})"""


def said(tmp_path, name: str, cases: list[dict]) -> list[str]:
    """Return the sentence under a figure after its sliders were moved, for each case."""
    every = f"{json.dumps(cases)}.map((values) => {MOVED}({json.dumps(name)}, values))"
    return asked(tmp_path, every)


def numbers(words: str) -> list[float]:
    """Return the numbers in a sentence."""
    found = re.findall(r"-?\d+(?:\.\d+)?", words.replace("\N{MINUS SIGN}", "-"))
    return list(map(float, found))


def small_task(strong: float, snr: float) -> Task:
    """The task of the figure on alignment: one strong direction and six weak ones."""
    beta = np.zeros(7)
    beta[:2] = np.sqrt([strong / 6.0, (1 - strong) / 0.25])
    return Task(two_level(6.0, 1, 0.25, 6), Teacher(beta), snr=snr)


@browser
def test_alignment_is_that_of_the_theory(tmp_path):
    cases = [
        (strong, snr, n, p)
        for strong in (0.0, 0.35, 1.0)
        for snr, n in ((0.2, 10), (5.0, 1000))
        for p in (-2.0, -0.5, 0.0, 2.0)
    ]
    shown = asked(
        tmp_path,
        f"{json.dumps(cases)}.map(([strong, snr, n, p]) => "
        "flFigures.alignment.curves({strong, snr, n})[0].at(p))",
    )
    for (strong, snr, n, p), value in zip(cases, shown, strict=True):
        task = small_task(strong, snr)
        assert value == pytest.approx(early_alignment(task, p, n), rel=1e-9)


@browser
def test_the_order_of_learning_is_that_of_the_theory(tmp_path):
    cases = [(q, depth) for q in (-0.33, 0.0, 0.33, 1.0) for depth in (1, 2, 3)]
    shown = asked(
        tmp_path,
        f"{json.dumps(cases)}.map(([q, depth]) => "
        "flFigures.flip.curves({q, depth}).map((curve) => curve.half))",
    )
    for case, values in zip(cases, shown, strict=True):
        times = learning_time([8.0, 4.0, 2.0, 1.0, 0.5], *case, 0.02)
        assert values == pytest.approx(times / times[2], rel=1e-4)


@browser
def test_the_sentence_on_the_order_is_that_of_the_theory(tmp_path):
    cases = [{"q": q, "depth": depth} for q in (0.0, 0.33, 1.0) for depth in (1, 2, 3)]
    for case, words in zip(cases, said(tmp_path, "flip", cases), strict=True):
        strong, weak = learning_time([8.0, 0.5], **case, start=0.02)
        power = np.log(strong / weak) / np.log(16)
        assert numbers(words) == pytest.approx([power], abs=0.006)
        named = re.search("(strong|weak|all) modes come", words)[1]
        late = "all" if abs(power) < 0.05 else "strong" if power < 0 else "weak"
        assert named == late


def stored_neurons():
    return json.loads(NEURONS.read_text().split("flCollapse = ")[1].rstrip(";\n"))


@browser
def test_neurons_collapse_where_the_reader_says(tmp_path):
    cases = [(p, q) for p in (-1.0, -0.5, 0.0, 0.5, 1.0) for q in (-2.0, p, 0.35)]
    shown = asked(
        tmp_path,
        f"{json.dumps(cases)}.map(([p, q]) => {{"
        "const curves = flFigures.collapse.curves({p, q});"
        "return [curves[0].dots, curves[0].misfit, flFigures.collapse.say(curves)]; })",
    )
    for (p, q), (dots, misfit, words) in zip(cases, shown, strict=True):
        net = {
            k: np.exp(np.divide(v, 100))
            for k, v in stored_neurons()[f"{p:.1f}"].items()
        }
        size = np.log(net["squares"] @ net["lam"] ** -q)
        readout = np.log(net["readout"])
        assert np.allclose(
            np.transpose(dots), [size - size.mean(), readout - readout.mean()]
        )
        assert misfit == pytest.approx(
            np.var(size - readout) / np.var(readout), rel=1e-6
        )
        weights = np.sqrt(net["squares"])
        read = read_balance(weights, net["readout"], Spectrum(net["lam"]))
        assert float(words.split()[-1]) == pytest.approx(read.p, abs=0.006)
        assert abs(read.p - p) < 0.03 and read.misfit < 1e-3


def test_stored_neurons_are_those_of_the_study():
    spec = importlib.util.spec_from_file_location(
        "collapse", ROOT / "tools" / "collapse.py"
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    made, stored = tool.network(0.5), stored_neurons()["0.5"]
    # dead pixels share the least eigenvalue, and any basis of theirs will do
    lam = np.array(stored["lam"])
    for found in (made, stored):
        found["squares"] = np.array(found["squares"])[:, lam > lam.min() + 1]
    for name, values in made.items():
        # logarithms of coordinates near zero differ from machine to machine
        off = np.abs(np.subtract(values, stored[name]))
        assert np.quantile(off, 0.99) <= 1
    assert NEURONS.stat().st_size < 100_000


@browser
def test_the_levels_of_the_risk_are_those_of_the_theory(tmp_path):
    cases = [
        (p, zeta, x)
        for p in (-0.2, 0.0, 0.35, 1.0)
        for zeta in (0.25, 2.0)
        for x in (5.5, 8.0)
    ]
    shown = asked(
        tmp_path,
        f"{json.dumps(cases)}.map(([p, zeta, x]) => flFigures.scaling.curves({{p, zeta}})"
        ".map((curve) => [curve.level || 0, curve.alpha || 0, curve.at(x)]))",
    )
    a, b = 1.5, 1.8
    for (p, zeta, x), curves in zip(cases, shown, strict=True):
        q = a * (p + 1)
        for level, _, y in curves[:3]:
            if y in (None, 5):  # however many samples, the time does not suffice
                assert two_laws(q, b, 1e300, 10.0**x) > level
            else:
                risk = two_laws(q, b, 10.0**y, 10.0**x)
                assert risk == pytest.approx(level, rel=1e-9)
        assert curves[3][1] == pytest.approx(exponent("path", a, b, p, zeta))
        assert curves[4][1] == pytest.approx(exponent("compute", a, b, p))


@browser
def test_the_sentence_on_the_paths_is_that_of_the_theory(tmp_path):
    cases = [{"p": p, "zeta": z} for p in (-0.2, 0.0, 1.0) for z in (0.25, 1.5, 4.0)]
    a, b = 1.5, 1.8
    for case, words in zip(cases, said(tmp_path, "scaling", cases), strict=True):
        p, zeta = case.values()
        path, plain = (exponent("path", a, b, each, zeta) for each in (p, 0.0))
        compute = exponent("compute", a, b, p)
        expected = [-path, -plain, -compute]
        assert numbers(words) == pytest.approx(expected, abs=0.006)
        assert ("agree" in words) == bool(np.isclose(path, plain))


def two_levels(p: float, ratio: float, strong: float, noise: float):
    """The problem of the figure on one step, and the eigenvalues of its P."""
    s = 2 * np.array([ratio, 1.0]) / (1 + ratio)
    b = np.array([strong, 1 - strong]) / s
    return Problem(pair(noise=noise), s, b / b.sum(), 3.0, 1.0), s**p


@browser
def test_one_preconditioned_step_is_that_of_the_theory(tmp_path):
    cases = [
        (p, ratio, strong, noise)
        for p in (-1.0, 0.3, 1.0)
        for ratio, strong, noise in (
            (1.0, 0.5, 0.1),
            (9.0, 0.0, 0.5),
            (20.0, 0.75, 2.0),
        )
    ]
    steps = (0.0, 0.7, 3.0)
    shown = asked(
        tmp_path,
        f"{json.dumps(cases)}.map(([p, ratio, strong, noise]) => "
        "{ const step = flFigures.unified.step({p, ratio, strong, noise}); "
        f"return {json.dumps(steps)}.map((eta) => "
        "[step.place(eta), step.overlap(eta), step.risk(eta)]); })",
    )
    for case, found in zip(cases, shown, strict=True):
        one, power = two_levels(*case)
        model = spiked(one, power)
        expected = [(*spike(model, eta), risk(one, power, 0.03, eta)) for eta in steps]
        assert np.allclose(found, expected, rtol=2e-5)


@browser
def test_the_sentence_on_the_step_is_that_of_the_theory(tmp_path):
    names = ("p", "ratio", "strong", "noise")
    settings = [(-1.0, 9.0, 0.5, 0.1), (0.5, 20.0, 0.0, 1.0), (1.0, 2.0, 1.0, 2.0)]
    cases = [dict(zip(names, setting, strict=True)) for setting in settings]
    for case, words in zip(cases, said(tmp_path, "unified", cases), strict=True):
        one, power = two_levels(**case)
        model = spiked(one, power)
        aligned = model.along.sum() ** 2 / model.square.sum()
        without, after = risk(one, power, 0.03, np.array([0.0, 3.0]))
        saved = 100 * (1 - after / without)
        *shown, eta, percent = numbers(words)
        assert shown == pytest.approx([threshold(model), aligned], abs=0.006)
        assert eta == 3 and percent == pytest.approx(saved, abs=0.51)


@browser
def test_the_damped_first_step_is_that_of_the_theory(tmp_path):
    kinds = (1.0, 0.0, 0.05), (9.0, 0.0, 0.25), (9.0, -1.0, 0.05), (20.0, 0.7, 2.0)
    cases = [(gamma, *kind) for gamma in (0.1, 1.0, 3.0) for kind in kinds]
    places = (-3.0, -0.6, 2.0)
    shown = asked(
        tmp_path,
        f"{json.dumps(cases)}.map(([gamma, ratio, r, rho]) => {{"
        "const curves = flFigures.damping.curves({gamma, ratio, r, rho});"
        f"return [curves.slice(0, 3).map((c) => {json.dumps(places)}.map(c.at)),"
        "curves[3].dots[1], flFigures.damping.say(curves)]; })",
    )
    for (gamma, ratio, r, rho), (lines, dot, words) in zip(cases, shown, strict=True):
        s = 2 * np.array([ratio, 1.0]) / (1 + ratio)
        b = s**r / np.sum(s**r)
        hidden = network.implicit_damping("relu", s, gamma)
        plain = population_power(s, b, gamma, rho + b @ s, 0).cos2
        own = [kfac(s, b, gamma, rho, 10**x).cos2 for x in places]
        natural = [kfac(s, b, gamma, rho, hidden + 10**x).cos2 for x in places]
        assert np.allclose(lines, [own, natural, [plain] * 3], rtol=1e-9)
        best = best_damping(s, b, gamma, rho)
        most = kfac(s, b, gamma, rho, best).cos2
        assert dot == pytest.approx([np.log10(best), most], abs=1e-4)
        said = list(map(float, re.findall(r"\d\.\d{3}", words)))
        bare = kfac(s, b, gamma, rho, hidden).cos2
        assert said == pytest.approx([best, gamma * rho, most, bare, plain], abs=1e-3)


@browser
def test_the_evidence_is_that_of_the_theory(tmp_path):
    cases = [
        (truth, noise, d)
        for truth in (-1.0, 0.3, 1.5)
        for noise, d in ((0.1, 4), (1.0, 60), (10.0, 80), (3.0, 25))
    ]
    shown = asked(
        tmp_path,
        f"{json.dumps(cases)}.map(([truth, noise, d]) => {{"
        "const curves = flFigures.evidence.curves({truth, noise, d});"
        "return [curves[0].found, flFigures.evidence.say(curves)]})",
    )
    for (truth, noise, d), (found, words) in zip(cases, shown, strict=True):
        lam = 1 / np.arange(1.0, d + 1)
        t = lam ** (truth + 1)
        scores = 1 + 300 * t / t.sum() / noise
        fit = choosing_p.fit(lam, scores, 299 - d, 299)
        rise = fit.deviance - fit.deviance.min()
        assert np.allclose(found["rise"], rise, atol=1e-4)
        assert found["drop"] == pytest.approx(fit.signal, abs=1e-2)
        assert words.startswith("told") == fit.told
        low, high = map(float, re.findall(r"-?\d+\.\d+", words)[:2])
        # two digits are shown; the minimum on the grid is off by less than one of them
        assert (low, high) == pytest.approx((fit.low, fit.high), abs=0.006)


@browser
def test_every_figure_draws_moves_and_is_labelled(tmp_path):
    body = """
    <script>
    addEventListener("load", () => {
      for (const name of Object.keys(flFigures)) {
        const place = document.createElement("div");
        place.dataset.figure = name;
        document.body.append(place);
        flStart(place);
        const before = place.querySelector("path").getAttribute("d");
        for (const input of place.querySelectorAll("input")) {
          input.value = input.max;
          input.dispatchEvent(new Event("input"));
          if (!place.querySelector(`label[for="${input.id}"]`)) place.append("NO LABEL");
        }
        if (place.querySelector("path").getAttribute("d") === before) place.append("STILL");
        if (/NaN|Infinity|undefined/.test(place.innerHTML)) place.append("NOT A NUMBER");
        place.append("DRAWN");
      }
    });
    </script>"""
    made = page(tmp_path, body).rpartition("</script>")[2]
    assert "DRAWN" in made
    assert not re.search("NO LABEL|STILL|NOT A NUMBER", made)
