"""What a figure shows, as a table: every drawn point with its panel and series.

The picture of a figure carries this table as its description, and the built book hands it
out as a file beside the picture.
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

COLUMNS = ("panel", "series", "kind", "x", "y", "low", "high")


def table(figure: Figure) -> str:
    """Return the points of ``figure`` as the text of a CSV file, six digits each.

    One row is one point: ``panel`` counts the axes from 1, ``series`` is the label of the
    legend, ``low`` and ``high`` are the ends of its error bar. A level across the panel
    has no ``x`` or no ``y``. An image has one row a pixel: ``x`` its column, ``y`` its
    row, ``low`` and ``high`` both its value.
    """
    import pandas as pd

    tables = [pd.DataFrame()]
    for panel, ax in enumerate(figure.axes, 1):
        for artist, kind, numbers in (*_lines(ax), *_bars(ax), *_images(ax)):
            label = artist.get_label() or ""
            series = "" if label.startswith("_") else label
            width = np.shape(numbers)[1]
            points = pd.DataFrame(numbers, columns=COLUMNS[3:][:width])
            points = points.assign(panel=panel, series=series, kind=kind)
            tables.append(points)
    points = pd.concat(tables).reindex(columns=COLUMNS)
    return points.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def _lines(ax: Axes) -> Iterator[tuple]:
    """Yield each line and set of segments that is no part of an error bar."""
    parts = set()
    for dots, ends, bars in (found.lines for found in ax.containers):
        parts |= {dots, *ends, *bars}
    for line in ax.lines:
        kind = "theory" if hasattr(line, "is_theory") else "line"
        # a level across the panel has no place on the other axis
        across = ax.get_yaxis_transform(), ax.get_xaxis_transform()
        placed = [line.get_transform() is not level for level in across]
        xy = np.where(placed, line.get_xydata(), np.nan)
        if line not in parts:
            yield line, kind, xy
    for lines in ax.collections:
        if isinstance(lines, LineCollection) and lines not in parts:
            yield lines, "line", np.concatenate(lines.get_segments())


def _bars(ax: Axes) -> Iterator[tuple]:
    """Yield each series of dots, with the ends of its bars if it has any."""
    for found in ax.containers:
        dots, _, bars = found.lines
        xy = np.asarray(dots.get_xydata(), float)
        ends = np.empty((len(xy), 0))
        if found.has_yerr:
            # a bar of unknown length is no segment
            unknown = np.full((2, 2), np.nan)
            segments = [s if len(s) else unknown for s in bars[-1].get_segments()]
            ends = np.array(segments)[:, :, 1]
        yield found, "measured", np.hstack([xy, ends])


def _images(ax: Axes) -> Iterator[tuple]:
    """Yield each image whose pixels are numbers."""
    for image in ax.images:
        values = np.asarray(image.get_array(), float)
        if values.ndim == 2:
            y, x = np.indices(values.shape)
            pixels = np.stack([x, y, values, values], axis=-1)
            yield image, "image", pixels.reshape(-1, 4)
