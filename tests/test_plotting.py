"""The look: lines for theory, dots with the right error bars for measurements, the same
bytes each time.
"""

import html
import io
import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from fl import plotting
from fl.plotting_points import table


@pytest.fixture(autouse=True)
def closed():
    with matplotlib.rc_context():
        plotting.style()
        yield
    plt.close("all")


def test_dots_are_means_over_seeds_with_standard_errors():
    (ax,) = plotting.panels()
    values = xr.DataArray([[1.0, 3.0, 5.0], [2.0, 2.0, 2.0]], dims=("p", "seed"))
    plotting.measured(ax, [0, 1], values, "measured")
    (container,) = ax.containers
    np.testing.assert_allclose(container.lines[0].get_ydata(), [3.0, 2.0])
    bars = np.array(container.lines[2][0].get_segments())  # (point, end, coordinate)
    np.testing.assert_allclose(
        np.diff(bars[:, :, 1])[:, 0] / 2, [2 / np.sqrt(3), 0.0]
    )  # sd 2, three seeds


def test_one_seed_has_no_error_bar():
    (ax,) = plotting.panels()
    plotting.measured(ax, [0], xr.DataArray([[1.0]], dims=("p", "seed")))
    assert not ax.containers[0].has_yerr


def test_theory_and_measurement_of_a_series_share_a_colour():
    left, right = plotting.panels(2)
    plotting.theory(left, [0, 1], [0, 1], series=9)
    plotting.measured(right, [0, 1], [0, 1], series=9)
    assert left.lines[0].get_color() == right.containers[0].lines[0].get_color()


def test_a_figure_leaves_the_digits_of_its_theory_lines():
    left, right = plotting.panels(2)
    x = np.linspace(0, np.pi, 101)
    plotting.theory(left, x, 2 * np.sin(x))
    plotting.measured(left, x, x)
    right.plot(x, x)
    plotting.theory(right, [0, 1], [1.23456, np.nan])
    assert plotting.digits(left.figure) == "0 1.41 2 1.41 0\n1.23 1.23 1.23 nan nan"
    (bare,) = plotting.panels()
    assert plotting.digits(bare.figure) is None


def test_the_same_picture_has_the_same_bytes():
    def picture():
        (ax,) = plotting.panels()
        plotting.theory(ax, [0, 1], [0, 1], "a line")
        plotting.matrix(ax, np.eye(2), "a matrix")
        buffer = io.BytesIO()
        ax.figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    assert picture() == picture()


def test_the_points_of_a_figure_are_a_table_and_go_with_its_picture():
    left, right = plotting.panels(2)
    plotting.theory(left, [1, 2], [3, 4], "curve < 5")
    values = xr.DataArray([[1.0, 3.0], [2.0, 2.0]], dims=("p", "seed"))
    plotting.measured(left, [1, 2], values, "dots")
    left.axhline(7)
    left.hlines([8], 0, [9])
    plotting.matrix(right, np.arange(4).reshape(2, 2), "an image")
    right.errorbar([1], [np.nan], yerr=[1])
    text = table(left.figure)
    assert text.splitlines() == [
        "panel,series,kind,x,y,low,high",
        "1,curve < 5,theory,1,3,,",
        "1,curve < 5,theory,2,4,,",
        "1,,line,,7,,",
        "1,,line,,7,,",
        "1,,line,0,8,,",
        "1,,line,9,8,,",
        "1,dots,measured,1,2,1,3",
        "1,dots,measured,2,2,2,2",
        "2,,measured,1,,,",
        *(f"2,,image,{i % 2},{i // 2},{i},{i}" for i in range(4)),
    ]
    picture = plotting._with_its_points(left.figure)
    described = re.search("<dc:description>(.*?)</dc:description>", picture, re.S)
    assert html.unescape(described[1]) == text
    assert table(plt.figure()).split() == ["panel,series,kind,x,y,low,high"]
