r"""Begin a topic: ``python tools/new_topic.py TOPIC "Title of the chapter" [AFTER]``.

Writes one file for each room of the house, filled with the smallest theorem that works
(the mean of n squares has variance 2/n), enters the topic behind AFTER (by default the
last) in ``fl/registry.py`` and ``_toc.yml``, and lists the module in ``book/api.md``. All
tests pass at once; what is left is to replace the theorem by yours.
"""

import json
import re
import subprocess
import sys

from reference import ROOT

THEORY = r'''r"""TITLE: what the mathematics predicts.

For :math:`z_i\sim N(0,1)` independent, :math:`\operatorname{var}\frac1n\sum z_i^2=2/n`.
"""

from fl import validate


def variance(n: int) -> float:
    """Return the variance of the mean of ``n`` squares of standard normal numbers.

    Derived in chapter "TOPIC".

    >>> variance(4)
    0.5

    Raises:
        ValueError: if ``n`` is not a whole number >= 1.
    """
    return 2 / validate.count("n", n)
'''
SIMULATE = '''"""TITLE: one unit of the experiment."""

import numpy as np

from fl import validate


def mean_square(seed: int, n: int) -> dict[str, float]:
    """Draw ``n`` standard normal numbers with a ``seed``; return the mean of squares.

    Raises:
        ValueError: if ``n`` is not a whole number >= 1.
    """
    z = np.random.default_rng(seed).standard_normal(validate.count("n", n))
    return {"mean": float(np.mean(z**2))}
'''
STUDY = '''"""TITLE: the sizes at each scale, and the sweeps at these sizes."""

import xarray as xr

from fl import scales
from fl.simulate import TOPIC as simulate
from fl.sweep import sweep

N = 10


def mean_squares(scale: scales.Scale, block: int = 0, n: int = N) -> xr.Dataset:
    """Return ``mean`` over ``seed``: the mean of ``n`` squares, a ``block`` of seeds.

    How many seeds there are depends on the ``scale``.
    """
    seeds = scales.at(scale, smoke=400, book=2000, paper=20000)
    run = sweep(simulate.mean_square, seeds=scales.seeds(seeds, block), jobs=1, n=n)
    return run.assign_attrs(n=n, seeds=seeds)
'''
CLAIMS = '''"""TITLE: the claims."""

from fl.evidence import Evidence, claim
from fl.studies import TOPIC as study
from fl.theory import TOPIC as theory


@claim(
    "TOPIC.variance",
    statement="The mean of n squares of standard normal numbers has variance 2/n",
    source="derived",
    uses=("thm-LABEL-variance",),
    control="half as many numbers in each mean",
)
def variance(scale, broken, block):
    """Hold the sample variance over seeds, relative to the prediction, against one."""
    n = study.N // 2 if broken else study.N
    run = study.mean_squares(scale, block, n)
    ratio = run["mean"].var("seed", ddof=1) / theory.variance(study.N)
    # the fourth moment of a chi-square with n degrees of freedom
    error = ((2 + 12 / study.N) / run.attrs["seeds"]) ** 0.5
    reason = "four standard errors of a sample variance"
    return Evidence(1, ratio, 4 * error, reason, error, sizes=run.attrs)
'''
CHAPTER = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# TITLE

## The question

How far does a mean of squares stray?

```{code-cell} ipython3
:tags: [hide-input]
import matplotlib.pyplot as plt
import numpy as np
import fl
from fl import plotting
from fl.simulate import TOPIC as simulate
from fl.studies import TOPIC as study
from fl.theory import TOPIC as theory

fl.setup()
```

## The smallest case

By hand: a single square is a chi-square with one degree of freedom, of mean 1 and
variance 2.

```{code-cell} ipython3
one = simulate.mean_square(0, 1)["mean"]
fl.show("one square", one)
```

## The statement

```{prf:theorem} Variance of a mean of squares
:label: thm-LABEL-variance
For independent $z_i \\sim N(0, 1)$ the mean $\\frac1n\\sum_i z_i^2$ has variance $2/n$.
```

## The check

```{code-cell} ipython3
fl.check("TOPIC.variance")
```

```{code-cell} ipython3
---
tags: [hide-input]
mystnb:
  image: {alt: "Variance against n on logarithmic axes: dots on a falling line."}
  figure: {caption: "The variance falls like 2/n.", name: fig-LABEL-variance}
---
(ax,) = plotting.panels()
sizes = np.array([5, 10, 20, 40])
runs = [study.mean_squares(fl.scale(), n=int(n))["mean"] for n in sizes]
plotting.theory(ax, sizes, [theory.variance(int(n)) for n in sizes])
plotting.measured(ax, sizes, [float(run.var("seed", ddof=1)) for run in runs])
ax.set(xscale="log", yscale="log", xlabel="n", ylabel="variance")
plt.show()
```

## What we have not shown

Nothing here speaks of other laws than the normal one.
"""
TEST = '''"""TITLE: special cases, invariances, limits, two independent routes."""

import numpy as np

from fl.simulate import TOPIC as simulate
from fl.studies import TOPIC as study
from fl.theory import TOPIC as theory


def test_one_square_has_the_variance_of_chi_square():
    assert theory.variance(1) == 2


def test_a_unit_is_the_mean_of_its_squares():
    z = np.random.default_rng(3).standard_normal(7)
    assert np.isclose(simulate.mean_square(3, 7)["mean"], z @ z / 7)


def test_another_block_has_other_seeds(cache):
    blocks = [study.mean_squares("smoke", block)["seed"].values for block in (0, 1)]
    assert not set(blocks[0]) & set(blocks[1])
'''
FILES = {
    "fl/theory/{}.py": THEORY,
    "fl/simulate/{}.py": SIMULATE,
    "fl/studies/{}.py": STUDY,
    "fl/claims/{}.py": CLAIMS,
    "book/{}.md": CHAPTER,
    "tests/test_{}.py": TEST,
}


def enter(path: str, line: str, new: str) -> None:
    """Write ``new`` behind ``line`` in a file, with the same indentation."""
    file = ROOT / path
    text = file.read_text()
    at = re.search(rf"^( *){re.escape(line)}\n", text, re.M)
    if at is None:
        sys.exit(f"{path} has no line {line!r}: enter {new!r} there by hand")
    file.write_text(text[: at.end()] + f"{at[1]}{new}\n" + text[at.end() :])


def main(topic: str, title: str, after: str | None = None) -> None:
    """Write the files of ``topic`` and enter it after another one."""
    from fl.registry import TOPICS

    after = after or TOPICS[-1]
    if not re.fullmatch(r"[a-z][a-z_]*", topic) or topic in TOPICS:
        sys.exit(
            f"TOPIC = {topic}: must be a new name of small letters and underscores"
        )
    if after not in TOPICS:
        sys.exit(f"AFTER = {after}: must be one of {', '.join(TOPICS)}")
    for pattern, text in FILES.items():
        path = ROOT / pattern.format(topic)
        text = text.replace("TOPIC", topic).replace("TITLE", title)
        path.write_text(text.replace("LABEL", topic.replace("_", "-")))
        print(f"wrote {path.relative_to(ROOT)}")
    enter("fl/registry.py", f'"{after}",', f'"{topic}",')
    enter("_toc.yml", f"- file: book/{after}", f"- file: book/{topic}")
    with (ROOT / "book" / "cards.yml").open("a", encoding="utf-8") as cards:
        cards.write(f"{topic}:\n  result: {json.dumps(title)}\n  needs: probability\n")
    subprocess.run([sys.executable, ROOT / "tools" / "api.py"], check=True)
    print(
        f"entered {topic} behind {after} in fl/registry.py, _toc.yml and book/api.md, and "
        "in book/cards.yml\n\n"
        "Now replace the theorem by yours, file by file. Then\n"
        f"  fl verify {topic} --scale smoke     the claim and its control\n"
        f"  make reference CHAPTERS={topic}     the outputs that the tests compare\n"
        "  book/references.bib                 every paper you name\n"
        "  book/cards.yml                      its result in one sentence, what it needs\n"
        "  make test                           says what is still missing"
    )


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
