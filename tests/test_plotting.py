"""The look: lines for theory, dots with the right error bars for measurements, the same
bytes each time.
"""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from fl import plotting


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
