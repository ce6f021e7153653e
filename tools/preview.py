"""Write the picture that other sites show beside a link to the book: ``python
tools/preview.py``. It is the figure of the first page.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fl import plotting
from fl.tasks import Task, Teacher, two_level
from fl.theory.alignment import early_alignment

FILE = Path(__file__).parent.parent / "book" / "_static" / "preview.png"


def main() -> None:
    """Draw the picture, 1200 by 630 points."""
    plotting.style()
    plt.rcParams.update({"savefig.transparent": False, "savefig.facecolor": "white"})
    figure, ax = plt.subplots(figsize=(8, 4.2))
    p = np.linspace(-2, 2, 81)
    for k, name in enumerate(["strong", "weak"]):
        task = Task(two_level(6.0, 1, 0.25, 6), Teacher(np.eye(7)[k]), snr=1.0)
        curve = [early_alignment(task, each, 200) for each in p]
        plotting.theory(ax, p, curve, f"teacher on a {name} direction", k, linewidth=3)
    ax.set(xlabel="exponent of the preconditioner", ylabel="alignment", ylim=(0, 1.05))
    ax.set_title("Which features does your optimizer learn?", fontsize=19, pad=14)
    ax.legend()
    figure.savefig(FILE, dpi=150)


if __name__ == "__main__":
    main()
