"""Write the networks of the moving figure in chapter "feature_matrix": ``python
tools/collapse.py``.

``book/_static/collapse.js`` holds, by exponent of training, 100 times the natural logarithm of
the eigenvalues ``lam`` of the metric, of the ``squares`` of the weights along its eigenvectors,
a neuron per row, and of each squared ``readout``, rounded to whole numbers.
"""

import json
from pathlib import Path

import numpy as np

from fl.instruments.exponent_reader import ALIVE
from fl.simulate import feature_matrix_digits as digits
from fl.studies import feature_matrix as study

FILE = Path(__file__).parent.parent / "book" / "_static" / "collapse.js"
IMAGES, STEPS = 200, 400


def network(p: float) -> dict[str, list]:
    """Return one network that was trained with the exponent ``p``: its neurons in use."""
    run = digits.course(0, p, study.SMALL, study.PLAIN, STEPS, IMAGES)
    squares, readout = run["squares"][1], run["readout"][1]
    alive = readout > ALIVE * readout.max()
    lam = digits.images(0, IMAGES).moment.eigenvalues
    found = {"lam": lam, "squares": squares[alive], "readout": readout[alive]}
    return {
        name: np.rint(100 * np.log(values)).astype(int).tolist()
        for name, values in found.items()
    }


def text(networks: dict[str, dict]) -> str:
    """Return the file: one line for every neuron."""
    rows = json.dumps(networks, separators=(",", ":"))
    rows = rows.replace("],", "],\n").replace("{", "{\n")
    return f'"use strict";\n\nconst flCollapse = {rows};\n'


if __name__ == "__main__":
    made = text({f"{p:.1f}": network(p) for p in study.POWERS})
    FILE.write_text(made, encoding="utf-8")
    print(f"{FILE.name}: {len(made) // 1000} kB")
