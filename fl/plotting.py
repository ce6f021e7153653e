"""One look for every figure: theory is a line, simulation is dots with error bars.

Figures are drawn dark on a transparent ground; the book's style sheet turns them over
in dark mode. The colours are the Okabe-Ito set without its yellow: distinct for
colour-blind readers and on both grounds.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib_inline.backend_inline import set_matplotlib_formats

from fl.numerics import standard_error

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
WIDTH = 7.2  # inches, the text width of the page


def style() -> None:
    """Set the figure style and SVG output for this process; the same picture has the
    same bytes each time.
    """
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.2),
            "figure.constrained_layout.use": True,
            "savefig.transparent": True,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#999999",
            "grid.alpha": 0.25,
            "font.size": 10.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "svg.hashsalt": "fl",
            "svg.fonttype": "path",
        }
    )
    set_matplotlib_formats("svg")


def panels(number: int = 1, *, height: float = 3.2, **subplots) -> list[Axes]:
    """Return ``number`` axes side by side on one figure of text width."""
    _, axes = plt.subplots(
        1, number, figsize=(WIDTH, height), squeeze=False, **subplots
    )
    return list(axes[0])


def theory(ax: Axes, x, y, label: str | None = None, series: int = 0, **line) -> None:
    """Draw a prediction as a line in the colour of ``series``."""
    ax.plot(x, y, color=COLOURS[series % len(COLOURS)], label=label, zorder=2, **line)


def measured(
    ax: Axes, x, y, label: str | None = None, series: int = 0, error=None, **dots
) -> None:
    """Draw a measurement as dots, with error bars of plus and minus ``error`` if it is
    given.

    A `DataArray` ``y`` with a ``seed`` dimension is averaged over it, and its standard
    error is the bar.
    """
    if "seed" in getattr(y, "dims", ()):
        y, error = y.mean("seed"), standard_error(y) if y.sizes["seed"] > 1 else None
    k = series % len(COLOURS)
    look = (
        dict(
            fmt=MARKERS[k],
            color=COLOURS[k],
            markersize=5,
            capsize=2.5,
            elinewidth=1.1,
            zorder=3,
        )
        | dots
    )
    error = (
        None if error is None else np.asarray(error)
    )  # labelled arrays would become arrays of objects
    ax.errorbar(np.asarray(x), np.asarray(y), yerr=error, label=label, **look)


def matrix(ax: Axes, values, title: str, **image) -> None:
    """Draw a matrix or an image without ticks."""
    ax.imshow(values, **(dict(cmap="cividis", interpolation="nearest") | image))
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)


def heat_map(ax: Axes, x, y, values, label: str, dots=None, **look) -> None:
    """Draw ``values`` (len(y), len(x)) as colours with a colour bar; ``dots`` (x, y,
    value) have the same scale.

    A dot that cannot be seen agrees with the map: only its rim stands out.
    """
    image = ax.pcolormesh(
        x,
        y,
        values,
        **(dict(cmap="cividis", shading="gouraud", rasterized=True) | look),
    )
    if dots is not None:
        ax.scatter(
            *dots[:2],
            c=dots[2],
            cmap=image.cmap,
            norm=image.norm,
            s=70,
            edgecolors="white",
            zorder=3,
        )
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label=label)
