"""The formulas behind the moving figures are those of the package: asked in a real browser."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fl.tasks import Task, Teacher, two_level
from fl.theory import choosing_p
from fl.theory.alignment import early_alignment
from fl.theory.spectral_updates_order import learning_time

WIDGETS = Path(__file__).resolve().parent.parent / "book" / "_static" / "widgets.js"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def page(tmp_path, body: str) -> str:
    """Return the page that a browser makes of ``body``, scripts run."""
    file = tmp_path / "page.html"
    script = f'<script src="{WIDGETS.as_uri()}"></script>'
    file.write_text(f"<!doctype html><body>{script}{body}</body>", "utf-8")
    run = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    run += ["--virtual-time-budget=2000", file.as_uri()]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


def asked(tmp_path, expression: str):
    """Return the value of a JavaScript expression."""
    body = f'<pre id="x"></pre><script>x.textContent = JSON.stringify({expression})</script>'
    found = re.search(r'<pre id="x">(.*?)</pre>', page(tmp_path, body), re.S)[1]
    return json.loads(html.unescape(found))


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
    spectrum = two_level(6.0, 1, 0.25, 6)
    for (strong, snr, n, p), value in zip(cases, shown, strict=True):
        beta = np.zeros(7)
        beta[:2] = np.sqrt([strong / 6.0, (1 - strong) / 0.25])
        task = Task(spectrum, Teacher(beta), snr=snr)
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
        assert (low, high) == pytest.approx((fit.low, fit.high), abs=0.01)


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
