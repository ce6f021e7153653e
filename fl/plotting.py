"""One look for every figure: theory is a line, simulation is dots with error bars.

Figures are drawn dark on a transparent ground; the book's style sheet turns them over in
dark mode. The colours are the Okabe-Ito set without its yellow: distinct for colour-blind
readers and on both grounds.
"""

import io
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fl.numerics import standard_error
from fl.plotting_points import table

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
DIGITS = "application/x-theory-digits"  # the type of output that holds them
WIDTH = 7.2  # inches, the text width of the page
STYLE = {
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
DOTS = {"markersize": 5, "capsize": 2.5, "elinewidth": 1.1, "zorder": 3}


def style() -> None:
    """Set the figure style and SVG output for this process; the same picture has the
    same bytes each time.
    """
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    plt.rcParams.update(STYLE)
    set_matplotlib_formats("svg")
    _leave_digits()


def _leave_digits() -> None:
    """Make each figure of a notebook leave the digits of its theory lines beside the
    picture, as an output that is compared and not shown, and its points in the picture.
    """
    from IPython import get_ipython
    from IPython.core.formatters import BaseFormatter

    if shell := get_ipython():
        every = shell.display_formatter
        every.formatters["image/svg+xml"].for_type(Figure, _with_its_points)
        formatter = BaseFormatter(parent=every)
        formatter.format_type, formatter.print_method = DIGITS, "_repr_digits_"
        formatter.for_type(Figure, digits)
        every.formatters[DIGITS] = formatter


def _with_its_points(figure: Figure) -> str:
    """Return the picture of ``figure``, its points as the description."""
    from IPython.core.pylabtools import print_figure

    described = {"Description": table(figure)}
    return print_figure(figure, fmt="svg", metadata=described)


def digits(figure: Figure) -> str | None:
    """Return three digits of five points of every line that `theory` drew on ``figure``,
    or None if there is none; what is zero up to rounding counts as zero.
    """
    lines = [line for ax in figure.axes for line in ax.lines]
    rows = []
    for line in (line for line in lines if hasattr(line, "is_theory")):
        y = np.asarray(line.get_ydata(), float)
        points = np.linspace(0, len(y) - 1, 5).round().astype(int)
        size = np.nanmax(np.abs(y), initial=0.0)
        shown = np.where(np.abs(y) < 1e-9 * size, 0.0, y)[points]
        rows.append(" ".join(f"{value:.3g}" for value in shown))
    return "\n".join(rows) or None


def panels(number: int = 1, *, height: float = 3.2, **subplots) -> list[Axes]:
    """Return ``number`` axes side by side on one figure of text width.

    ``height`` is in inches; ``subplots`` are further arguments of `plt.subplots`.
    """
    size = {"figsize": (WIDTH, height), "squeeze": False}
    _, axes = plt.subplots(1, number, **size, **subplots)
    return list(axes[0])


def theory(ax: Axes, x, y, label: str | None = None, series: int = 0, **line) -> None:
    """Draw a prediction ``y`` (K,) at ``x`` (K,) as a line on ``ax``.

    ``series`` chooses the colour, ``label`` goes into the legend, and ``line`` are
    further arguments of `plt.plot`.
    """
    colour = COLOURS[series % len(COLOURS)]
    look = {"color": colour, "zorder": 2} | line
    for drawn in ax.plot(x, y, label=label, **look):
        drawn.is_theory = True


def measured(
    ax: Axes, x, y, label: str | None = None, series: int = 0, error=None, **dots
) -> None:
    """Draw a measurement as dots with error bars.

    Args:
        ax: where to draw.
        x: positions (K,).
        y: values (K,); a `DataArray` with a ``seed`` dimension is averaged over it, and
            its standard error is the bar.
        label: for the legend.
        series: chooses colour and marker.
        error: length of the bars on either side (K,), or None.
        dots: further arguments of `plt.errorbar`.
    """
    if "seed" in getattr(y, "dims", ()):
        error = standard_error(y) if y.sizes["seed"] > 1 else None
        y = y.mean("seed")
    k = series % len(COLOURS)
    look = {"fmt": MARKERS[k], "color": COLOURS[k]} | DOTS | dots
    # labelled arrays would become arrays of objects
    x, y = np.asarray(x), np.asarray(y)
    bars = None if error is None else np.asarray(error)
    ax.errorbar(x, y, yerr=bars, label=label, **look)


def matrix(ax: Axes, values, title: str, **image) -> None:
    """Draw ``values`` (m, n) or an image on ``ax`` under a ``title``, without ticks.

    ``image`` are further arguments of `plt.imshow`.
    """
    look = {"cmap": "cividis", "interpolation": "nearest"} | image
    ax.imshow(values, **look)
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)


def svg(draw: Callable[[Figure], None], width: float, height: float) -> str:
    """Return what ``draw`` puts on a figure as the text of an SVG, ``width`` times
    ``height`` inches. No state of matplotlib changes.
    """
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with plt.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=nothing)
    picture = text.getvalue()
    return picture[picture.index("<svg") :]
