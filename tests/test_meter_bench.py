"""The bench of two exponents: readings, the assertion, its faults, and the command line."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fl.cli import app
from fl.instruments.two_sided import TwoSided
from fl.meter_bench import _fit, assert_exponent, bench
from fl.preconditioners import Shampoo

SHORT = {"warm_up": 100, "windows": (8, 20)}


class Fixed(torch.optim.Optimizer):
    """Powers of the true covariances, read off the first gradients' bench."""

    def __init__(self, params, left, right):
        super().__init__(params, {"lr": 1.0})
        self.left, self.right = left, right

    @torch.no_grad()
    def step(self):
        for w in self.param_groups[0]["params"]:
            h, d = w.shape
            rows = torch.logspace(0, -1, h, dtype=w.dtype) ** self.left
            columns = torch.logspace(0, -np.log10(30), d, dtype=w.dtype) ** self.right
            w -= rows[:, None] * w.grad * columns


@pytest.mark.parametrize("powers", [(0, 0), (-0.25, -0.5), (0.5, -1)])
def test_fixed_powers_on_the_axes_are_read_exactly(powers):
    found = bench(lambda params: Fixed(params, *powers), rotated=False, **SHORT)
    assert np.allclose([found.left, found.right], powers, atol=1e-9)
    assert found.kappa > 1 - 1e-9 and max(found.left_error, found.right_error) < 1e-9


def test_the_meter_hands_on_the_bench():
    from fl import meter

    assert meter.bench is bench and meter.assert_exponent is assert_exponent


def test_a_bench_neither_draws_from_nor_sets_the_generator_of_torch():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again = (bench(torch.optim.SGD, seed=3, **SHORT) for _ in range(2))
    assert first.left == again.left and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("root", [3, 2])
def test_shampoo_with_other_roots_has_their_exponents(root):
    # the quarter is that of the library, below
    found = bench(lambda params: TwoSided(params, -1 / root, -1 / root, memory=0.99))
    assert np.allclose([found.left, found.right], -1 / root, atol=0.03)


def test_heavy_ball_momentum_is_filtered():
    def make(params):
        return torch.optim.SGD(params, lr=0.1, momentum=0.9)

    assert abs(bench(make, momentum=0.9, **SHORT).right) < 1e-9
    assert abs(bench(make, **SHORT).left) > 1e-3


def test_noise_in_the_gain_leaves_no_bias():
    mu, lam = np.geomspace(1, 0.1, 30), np.geomspace(1, 0.03, 20)
    design = np.stack(
        [np.add.outer(np.log(mu), 0 * lam), np.add.outer(0 * mu, np.log(lam))]
    )
    law = np.exp(-0.5 * design[0] - 0.25 * design[1])
    rng = np.random.default_rng(0)
    fits = [
        _fit(law * (1 + rng.standard_normal(law.shape)), design) for _ in range(200)
    ]
    error = np.std(fits, axis=0) / np.sqrt(len(fits))
    assert (abs(np.mean(fits, 0) - (-0.5, -0.25)) < 4 * error).all()
    assert np.isnan(_fit(-law, design)).all()


def test_an_assertion_passes_fails_and_says_when_it_cannot_tell():
    def quarter(params):
        return Shampoo(params, 1.0, memory=0.99)

    found = assert_exponent(quarter, left=-0.25, right=-0.25)
    assert "left -0.2" in str(found)
    with pytest.raises(AssertionError, match=r"right = -0.2.*must be -0.5 \+- 0.05"):
        assert_exponent(quarter, right=-0.5)
    with pytest.raises(AssertionError, match="left: cannot tell"):
        assert_exponent(lambda params: torch.optim.Adam(params), left=-0.5, **SHORT)
    with pytest.raises(ValueError, match="left = right = None"):
        assert_exponent(quarter)


@pytest.mark.parametrize(
    "flat", [{"ratios": (1, 30), "shape": (6, 9)}, {"shape": (1, 9)}]
)
def test_a_flat_side_tells_nothing(flat):
    def make(params):
        return Fixed(params, -0.5, -0.5)

    found = bench(make, rotated=False, **flat, **SHORT)
    assert np.isnan(found.left) and np.isnan(found.left_error)
    assert abs(found.right + 0.5) < 1e-9 and found.kappa > 0.9
    with pytest.raises(AssertionError, match="left: cannot tell"):
        assert_exponent(make, left=0, rotated=False, **flat, **SHORT)


@pytest.mark.parametrize("lr", [1e-300, 1e300])
def test_an_update_that_does_not_follow_the_gradient_is_not_passed(lr):
    with pytest.raises(AssertionError, match="cannot tell.*kappa at least 0.5"):
        assert_exponent(lambda w: torch.optim.SGD(w, lr=lr), left=0, right=0, **SHORT)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"shape": (0, 3)}, "shape entry = 0"),
        ({"ratios": (0.5, 2)}, "ratios entry = 0.5"),
        ({"windows": (4, 10)}, "must be 8, 12"),
        ({"warm_up": -1}, "warm_up = -1"),
        ({"momentum": 3}, "momentum = 3"),
        ({"seed": -1}, "seed = -1"),
        ({"make": lambda params: 3}, r"make\(params\) = 3"),
        ({"make": torch.optim.LBFGS}, "LBFGS, whose step wants a closure"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, word):
    with pytest.raises(ValueError, match=word):
        bench(**{"make": torch.optim.SGD} | change)


def test_the_command_prints_a_table_and_writes_json(tmp_path):
    script, out = tmp_path / "mine.py", tmp_path / "out.json"
    script.write_text(
        "import torch\ndef make(params):\n    return torch.optim.SGD(params, lr=0.1)\n"
        "def broken(params):\n    raise KeyError('x')\nthree = 3\n"
    )
    run = CliRunner().invoke(app, ["meter", f"{script}:make", "--json", str(out)])
    assert run.exit_code == 0 and "rotated" in run.output
    records = json.loads(out.read_text())
    assert [r["basis"] for r in records] == ["axes", "rotated"]
    assert all(abs(r["left"]) < 1e-9 for r in records)
    for target, word in [
        (f"{script}:broken", "KeyError"),
        (f"{script}:three", "no function three"),
        (f"{tmp_path / 'none.py'}:make", "must be SCRIPT.py:make"),
    ]:
        run = CliRunner().invoke(app, ["meter", target], env={"COLUMNS": "400"})
        assert (
            run.exit_code == 2 and word in run.output and "Traceback" not in run.output
        )
